#include "multiply.h"

#include "geometry.h"

/* Bytes of a panel that are read for tile after tile: of a level-1 cache of 32 KiB the rows and the tables of offsets
 * want the rest. With AVX2 10 to 16 KiB measured alike, and 5 to 10 % better than whole panels of 36 KiB. */
enum { PIECE_BYTES = 12 * 1024 };

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
static ck_row_panel panel_of(const int32_t *ro, int64_t height) {
  int64_t half = (height + 1) / 2, even = 1;
  ck_row_panel p = {.first = ro[0], .height = height};
  p.step = half > 1 ? ro[1] - ro[0] : 0;
  p.second = height > half ? ro[half] - ro[0] : 0;
  for (int64_t i = 2; i < half; i++)
    even &= ro[i] - ro[i - 1] == p.step;
  for (int64_t i = half + 1; i < height; i++)
    even &= ro[i] - ro[i - 1] == p.step;
  if (even)
    return p;
  return (ck_row_panel){.height = height, .ro = ro};
}

int64_t ck_row_panel_count(const ck_kernels *kernels, int64_t rows) { return ck_ceil_div(rows, kernels->max_height); }

void ck_row_panels_set(const ck_kernels *kernels, const int32_t *ro, int64_t rows, ck_row_panel *panels) {
  int64_t count = ck_row_panel_count(kernels, rows);
  for (int64_t i = 0; i < count; i++) {
    int64_t first = ck_panel_start(rows, count, i);
    panels[i] = panel_of(ro + first, ck_panel_start(rows, count, i + 1) - first);
  }
}

void ck_multiply_rows(const ck_row_product *p) {
  const ck_kernels *kernels = p->kernels;
  const int64_t item = kernels->real_size, row = p->ld * item, panels = ck_row_panel_count(kernels, p->rows);
  const int64_t pieces = p->chain ? pieces_of(p->k, row) : 1;
  const ck_strip_fn *table = p->depth ? kernels->depth : kernels->rows[p->ld > kernels->vector];
  for (int64_t i = 0; i < pieces; i++) {
    piece at = piece_at(p->k, pieces, i);
    ck_strip s = {.ko = p->ko + at.first, .panel = (const char *)p->panel + at.first * row, .ldc = p->ld};
    int64_t first = 0;
    for (int64_t r = 0; r < panels; r++) {
      ck_row_panel panel;
      if (p->panels)
        panel = p->panels[r];
      else
        panel = panel_of(p->ro + first, ck_panel_start(p->rows, panels, r + 1) - first);
      s.s = (const char *)p->data + panel.first * item;
      s.step = panel.step;
      s.second = panel.second;
      s.ro = panel.ro;
      set_piece(&s, &at, p->chain, p->total, first * row, p->mode);
      table[panel.height](&s);
      first += panel.height;
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
