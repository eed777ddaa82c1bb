#include "multiply.h"

#include "geometry.h"

/* Bytes of a panel that are read for tile after tile. A third of a level-1 cache of 32 KiB; the rows and the tables of
 * offsets want the rest. */
enum { PIECE_BYTES = 10 * 1024 };

static int64_t pieces_of(int64_t k, int64_t bytes) { return ck_max(1, (k * bytes + PIECE_BYTES / 2) / PIECE_BYTES); }

int64_t ck_multiply_piece(int64_t k, int64_t bytes) { return ck_ceil_div(k, pieces_of(k, bytes)); }

/* Where a piece's chains come from and go to. */
typedef struct piece {
  int64_t first, k;
  int start, end;
} piece;

static piece piece_at(int64_t k, int64_t pieces, int64_t i) {
  int64_t first = ck_panel_start(k, pieces, i);
  return (piece){first, ck_panel_start(k, pieces, i + 1) - first, i == 0, i == pieces - 1};
}

static void set_piece(ck_strip *s, const piece *p, char *chain, char *total, int64_t offset, ck_chain mode) {
  s->k = p->k;
  s->from = !p->start ? chain + offset : mode == CK_GO_ON ? total + offset : NULL;
  s->to = (p->end ? total : chain) + offset;
  s->add = p->end && mode == CK_ADD;
}

/* Whether the rows lie in two runs of one step, the first the longer by at most one. */
static int in_runs(ck_strip *s, const int32_t *ro, int64_t height) {
  int64_t half = (height + 1) / 2;
  s->step = half > 1 ? ro[1] - ro[0] : 0;
  s->second = height > half ? ro[half] - ro[0] : 0;
  for (int64_t i = 2; i < half; i++)
    if (ro[i] - ro[i - 1] != s->step)
      return 0;
  for (int64_t i = half + 1; i < height; i++)
    if (ro[i] - ro[i - 1] != s->step)
      return 0;
  return 1;
}

void ck_multiply_rows(const ck_row_product *p) {
  const ck_kernels *kernels = p->kernels;
  const int64_t item = kernels->real_size, panels = ck_ceil_div(p->rows, kernels->max_height);
  const int64_t pieces = p->chain ? pieces_of(p->k, p->ld * item) : 1;
  const ck_strip_fn *table = p->depth ? kernels->depth : kernels->rows[p->ld > kernels->vector];
  for (int64_t i = 0; i < pieces; i++) {
    piece at = piece_at(p->k, pieces, i);
    ck_strip s = {.ko = p->ko + at.first, .panel = (const char *)p->panel + at.first * p->ld * item, .ldc = p->ld};
    for (int64_t r = 0; r < panels; r++) {
      int64_t first = ck_panel_start(p->rows, panels, r), height = ck_panel_start(p->rows, panels, r + 1) - first;
      const int32_t *ro = p->ro + first;
      int runs = in_runs(&s, ro, height);
      s.s = (const char *)p->data + (runs ? ro[0] * item : 0);
      s.ro = runs ? NULL : ro;
      set_piece(&s, &at, p->chain, p->total, first * p->ld * item, p->mode);
      table[height](&s);
    }
  }
}

void ck_multiply_lanes(const ck_lane_product *p) {
  const ck_kernels *kernels = p->kernels;
  const int64_t item = kernels->real_size, row = ck_round_up(p->height, kernels->vector) * item;
  const int64_t vectors = ck_ceil_div(p->lanes, kernels->vector), most = kernels->lane_vectors[p->height];
  const int64_t strips = ck_ceil_div(vectors, most), pieces = p->chain ? pieces_of(p->k, row) : 1;
  for (int64_t i = 0; i < pieces; i++) {
    piece at = piece_at(p->k, pieces, i);
    ck_strip s = {.ko = p->ko + at.first, .panel = (const char *)p->panel + at.first * row, .ldc = p->ldc};
    for (int64_t r = 0; r < strips; r++) {
      int64_t first = ck_panel_start(vectors, strips, r), count = ck_panel_start(vectors, strips, r + 1) - first;
      int64_t offset = first * kernels->vector * item;
      s.s = (const char *)p->data + offset;
      set_piece(&s, &at, p->chain, p->total, offset, p->mode);
      kernels->lanes[p->height][count - 1](&s);
    }
  }
}
