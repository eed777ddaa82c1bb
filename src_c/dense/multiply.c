#include "multiply.h"

#include "base/cpu.h"
#include "base/geometry.h"

enum { LINE = 64 };

/* Bytes that a piece reads for tile after tile: for each product its part of the panel, and a line of the rows, which
 * the next tiles read, too, or, where products are neighbours, as in Winograd's, an element of each row. Of a level-1
 * cache of 32 KiB the tables and sums want the rest. With AVX2 on a Zen 3 14 and 18 KiB measured alike; without the
 * rows' lines, 12 KiB of panels took 1.02 times as long on 20 layers, dilated ones 1.06. A Zen 5, which
 * has a larger one, reads level 2 as fast as it multiplies, and what a piece costs is to load and store its tiles: 96
 * to 512 KiB measured alike, and 16 KiB took 1.02 times as long on 24 layers, 3x3 of 128 channels on 28x28 1.05. Other
 * cores with more than 32 KiB are taken to be like it. */
static int64_t piece_bytes(void) { return ck_cpu_cache(1) > 32 * 1024 ? 128 * 1024 : 16 * 1024; }

static int64_t pieces_of(const ck_kernels *kernels, int64_t k, int64_t bytes, int apart) {
  const int64_t each = bytes + (apart ? LINE : kernels->max_height * kernels->real_size), most = piece_bytes();
  return ck_max(1, (k * each + most / 2) / most);
}

int64_t ck_multiply_piece(const ck_kernels *kernels, int64_t k, int64_t bytes, int apart) {
  return ck_ceil_div(k, pieces_of(kernels, k, bytes, apart));
}

/* Where a piece begins; of products at a constant step all but the last have an even number. */
static int64_t piece_start(int64_t k, int64_t pieces, int64_t i, int steady) {
  return steady && i < pieces && 2 * pieces <= k ? ck_part_start(k / 2, pieces, i) * 2 : ck_part_start(k, pieces, i);
}

/* From each product's place to the next's, of an even number of them. */
static int64_t step_of(const int32_t *ko, int64_t k, int steady) {
  return steady && k > 0 && k % 2 == 0 ? (int64_t)ko[1] - ko[0] : 0;
}

/* The piece's part of a strip's arguments; total and chain begin at the strip. */
static void set_piece(ck_strip *s, const int32_t *ko, int steady, const char *panel, int64_t row, int64_t k,
                      int64_t pieces, int64_t i, ck_chain mode) {
  int64_t first = piece_start(k, pieces, i, steady);
  s->k = piece_start(k, pieces, i + 1, steady) - first;
  s->ko = ko + first;
  s->k_step = step_of(s->ko, s->k, steady);
  s->panel = panel + first * row;
  s->add = i == pieces - 1 && mode == CK_ADD;
}

static void set_place(ck_strip *s, int64_t pieces, int64_t i, char *chain, char *total, int64_t offset, ck_chain mode) {
  s->from = i > 0 ? chain + offset : mode == CK_GO_ON ? total + offset : NULL;
  s->to = (i == pieces - 1 ? total : chain) + offset;
}

/* Two offsets may be further from each other than their type counts. */
static int64_t gap(const int32_t *offset, int64_t i, int64_t j) { return (int64_t)offset[i] - offset[j]; }

int ck_is_steady(const int32_t *ko, int64_t k) {
  for (int64_t i = 2; i < k; i++)
    if (gap(ko, i, i - 1) != gap(ko, 1, 0))
      return 0;
  return 1;
}

/* In two runs of one step, the first the longer by at most one, or anywhere: then ro counts from `first`, too. */
static ck_row_panel panel_of(const int32_t *ro, int64_t height) {
  int64_t half = (height + 1) / 2, even = 1;
  ck_row_panel p = {.first = ro[0]};
  p.step = half > 1 ? gap(ro, 1, 0) : 0;
  p.second = height > half ? gap(ro, half, 0) : 0;
  for (int64_t i = 2; i < half; i++)
    even &= gap(ro, i, i - 1) == p.step;
  for (int64_t i = half + 1; i < height; i++)
    even &= gap(ro, i, i - 1) == p.step;
  return even ? p : (ck_row_panel){.ro = ro};
}

int64_t ck_row_panel_count(const ck_kernels *kernels, int64_t rows) { return ck_ceil_div(rows, kernels->max_height); }

/* How rows are cut into tiles of two heights: so many of the first, then those of the second. */
typedef struct row_cut {
  int64_t count[2], height[2];
} row_cut;

/* Balanced, the taller ones first; or all of one height but the last. */
static row_cut cut_rows(const ck_kernels *kernels, int64_t rows, int64_t high) {
  if (high)
    return (row_cut){{rows / high, rows % high > 0}, {high, rows % high}};
  const int64_t panels = ck_row_panel_count(kernels, rows), height = rows / ck_max(1, panels);
  const int64_t taller = rows - panels * height;
  return (row_cut){{taller, panels - taller}, {height + 1, height}};
}

/* A tile whose rows lie anywhere has a pointer for each: of more than there are registers, each product loads them
 * anew, which takes as long as its multiply-adds where lanes are one vector or half of one. Tiles that end where the
 * rows of an image do: 65 to 2 channels, 7x7x7 to 4x4x4, take 0.80 of the time, 42 to 4, 7x7 to 90x3, 0.85 (Zen 4). */
enum { ROW_POINTERS = 10, FEWEST_ROWS = 6 };

int64_t ck_row_panel_height(const ck_kernels *kernels, const int32_t *ro, int64_t rows) {
  const int64_t most = kernels->max_height;
  int64_t run = 2;
  while (run < rows && gap(ro, run, run - 1) == gap(ro, 1, 0))
    run++;
  if (most <= ROW_POINTERS || run >= rows || rows % run)
    return 0;
  int64_t height = run > most ? most : run * ck_min(2, most / run);
  while (run > most && height >= FEWEST_ROWS && run % height)
    height--;
  return height < FEWEST_ROWS ? 0 : height;
}

int64_t ck_row_panel_bound(const ck_kernels *kernels, int64_t rows) {
  return ck_ceil_div(rows, ck_min(FEWEST_ROWS, kernels->max_height));
}

void ck_row_panels_set(const ck_kernels *kernels, const int32_t *ro, int64_t rows, int64_t height,
                       ck_row_panel *panels) {
  const row_cut cut = cut_rows(kernels, rows, height);
  for (int part = 0; part < 2; part++)
    for (int64_t i = 0; i < cut.count[part]; i++, ro += cut.height[part])
      *panels++ = panel_of(ro, cut.height[part]);
}

/* All tiles of a piece together fetch as much of the next panel as the piece has of its own, a few bytes for each
 * product: fetched all at once, lines wait for each other. One image of 512 channels on a Zen 3, by Winograd, whose
 * weights come from memory: 28x28 takes 0.9 of the time, 7x7 0.8; of a panel that is close it costs nothing. Where none
 * is next, the first line of this one stands in. */
static void set_next(ck_strip *s, const ck_row_product *p, int64_t first, int64_t row, int64_t panels) {
  s->next = p->panel;
  if (!p->next)
    return;
  s->next = (const char *)p->next + first * (p->next_row ? p->next_row : row);
  s->next_step = p->next_row ? p->next_row : ck_ceil_div(row, panels);
  s->next_tile = p->next_row ? LINE : s->k * s->next_step;
}

void ck_multiply_rows(const ck_row_product *p) {
  if (p->rows == 0) /* then there may be no tables */
    return;
  const ck_kernels *kernels = p->kernels;
  const row_cut cut = cut_rows(kernels, p->rows, p->height);
  const int64_t row = p->ld * kernels->real_size, panels = cut.count[0] + cut.count[1];
  const int apart = p->k < 2 || gap(p->ko, 1, 0) != 1;
  const int64_t pieces = p->chain ? pieces_of(kernels, p->k, row, apart) : 1;
  const ck_strip_fn *table = p->by_group ? kernels->group_strips
                             : p->po     ? kernels->picked_strips[p->ld > kernels->vector]
                             : p->narrow ? kernels->narrow_strips
                                         : kernels->row_strips[p->ld > kernels->vector];
  for (int64_t i = 0; i < pieces; i++) {
    ck_strip s = {.s = p->data, .rows = p->panels, .ahead = p->ahead};
    set_piece(&s, p->ko, p->steady, p->panel, row, p->k, pieces, i, p->mode);
    set_next(&s, p, piece_start(p->k, pieces, i, p->steady), row, panels);
    if (p->po) {
      s.po = p->po + piece_start(p->k, pieces, i, p->steady);
      s.panel = p->panel;
    }
    for (int64_t part = 0, first = 0; part < 2; part++) {
      const int64_t height = cut.height[part];
      ck_finish finish;
      s.tiles = cut.count[part];
      if (s.tiles == 0)
        continue;
      if (p->finish && i == pieces - 1) {
        finish = *p->finish;
        finish.dst += first * finish.row;
        s.finish = &finish;
      }
      s.ldc = height * p->ld;
      set_place(&s, pieces, i, p->chain, p->total, first * row, p->mode);
      table[height](&s);
      first += s.tiles * height;
      s.rows += s.tiles;
      s.next = (const char *)s.next + s.tiles * s.next_tile;
    }
  }
}

void ck_multiply_points(const ck_point_product *p) {
  const ck_kernels *kernels = p->kernels;
  const int64_t item = kernels->real_size, panels = ck_row_panel_count(kernels, p->rows);
  ck_strip s = {.k = p->k,
                .tiles = p->points,
                .s = p->data,
                .ko = p->ko,
                .k_step = step_of(p->ko, p->k, p->steady),
                .rows = p->panels,
                .panel = p->panel,
                .from = p->go_on ? p->total : NULL,
                .to = p->total,
                .apart = p->panel_apart,
                .ldc = p->total_apart,
                .next = p->next ? p->next : p->panel};
  if (p->next)
    s.next_step = ck_ceil_div(p->next_bytes, p->k * p->points * panels);
  s.next_tile = p->k * s.next_step;
  for (int64_t i = 0; i < panels; i++) {
    const int64_t height = p->rows / panels + (i < p->rows % panels);
    kernels->row_strips[p->ld > kernels->vector][height](&s);
    s.rows += p->points;
    s.next = (const char *)s.next + p->points * s.next_tile;
    s.to = (char *)s.to + height * p->ld * item;
    if (p->go_on)
      s.from = s.to;
  }
}

/* Strips are of balanced width, the wider ones first. */
static void lane_strips(const ck_lane_product *p, ck_strip *s, int64_t pieces, int64_t i, int64_t strips) {
  const int64_t vector = p->kernels->vector, item = p->kernels->real_size, vectors = ck_ceil_div(p->lanes, vector);
  const int64_t width = vectors / strips, wider = vectors % strips;
  for (int64_t at = 0, next; at < strips; at = next) {
    const int64_t wide = width + (at < wider), first = at * width + ck_min(at, wider), lane = first * vector;
    ck_finish finish;
    next = p->runs ? at + 1 : at < wider ? wider : strips; /* a strip of each run, or strips side by side */
    s->tiles = p->runs ? p->runs : next - at;
    s->beside = p->runs ? vectors : wide;
    s->s = (const char *)p->data + (p->vo ? 0 : lane) * item;
    s->vo = p->vo ? p->vo + first : NULL;
    s->ahead = p->ahead && !p->runs ? wide * vector : 0;
    set_place(s, pieces, i, p->chain, p->total, lane * item, p->mode);
    s->finish = NULL;
    if (p->finish && i == pieces - 1) {
      finish = *p->finish;
      finish.dst += lane * item;
      finish.lanes = p->lanes - lane;
      finish.tile = p->runs ? p->run : wide * vector * item;
      finish.less = p->runs ? 0 : wide * vector;
      s->finish = &finish;
    }
    p->kernels->lane_strips[p->height][wide - 1](s);
  }
}

void ck_multiply_lanes(const ck_lane_product *p) {
  const ck_kernels *kernels = p->kernels;
  const int64_t row = ck_round_up(p->height, kernels->vector) * kernels->real_size;
  const int64_t vectors = ck_ceil_div(p->lanes, kernels->vector);
  const int64_t pieces = p->streams ? ck_ceil_div(p->k, p->streams) : p->chain ? pieces_of(kernels, p->k, row, 1) : 1;
  const int64_t strips = ck_ceil_div(vectors, p->wide ? p->wide : kernels->lane_vectors[p->height]);
  for (int64_t i = 0; i < pieces && strips > 0; i++) {
    ck_strip s = {.ldc = p->ldc, .next = p->panel};
    set_piece(&s, p->ko, p->steady, p->panel, row, p->k, pieces, i, p->mode);
    if (p->next) {
      s.next = (const char *)p->next + piece_start(p->k, pieces, i, p->steady) * p->next_row;
      s.next_step = p->next_row;
    }
    lane_strips(p, &s, pieces, i, strips);
  }
}
