/* The table of kernels: one for each instruction set and dtype, filled at compile time.
 *
 * Every kernel works on scratch of the element type it was compiled for; offsets and strides in scratch are counted in
 * elements, strides of user memory in bytes.  Panels are [k][ld] with ld a whole number of vectors. */
#ifndef CK_DISPATCH_H
#define CK_DISPATCH_H

#include <math.h>

#include "convkit.h"
#include "pool_calls.h"

enum { CK_MAX_HEIGHT = 14, CK_MAX_LANE_VECTORS = 6 };

/* What results are kept within; NaN passes. */
typedef struct ck_bounds {
  double low, high;
} ck_bounds;

/* Activations that are bounds, if any: whoever stores applies them. All others are for ck_sums, before, or for
 * ck_kernels.activate, after. */
static inline int ck_only_bounds(int activation) {
  return activation == CK_IDENTITY || activation == CK_RELU || activation == CK_CLIP;
}

/* Those of an activation that is bounds, else none. */
static inline ck_bounds ck_bounds_of(int activation, double a, double b) {
  const int clip = activation == CK_CLIP;
  return (ck_bounds){clip ? a : activation == CK_RELU ? 0 : -INFINITY, clip ? b : INFINITY};
}

/* The derivative of such an activation is 1 where x > low, and not x >= high, which never holds where nothing bounds
 * above and high is NaN. */
static inline ck_bounds ck_slope_of(int activation, double a, double b) {
  const int clip = activation == CK_CLIP;
  return (ck_bounds){clip ? a : 0, clip ? b : NAN};
}

/* Where the rows of a register tile lie: in two runs, the first the longer by at most one, row i of a run i * step
 * after the run's first; or row i ro[i] after `first`. */
typedef struct ck_row_panel {
  int64_t first, step, second; /* second: from the first run to the second */
  const int32_t *ro;           /* [height], or NULL */
} ck_row_panel;

/* Straight to the user's memory: row i, lane j at dst + i * row + j elements, plus a bias, then within bounds. The
 * bias is each row's, or of row strips each lane's. */
typedef struct ck_finish {
  char *dst;
  int64_t row;        /* bytes */
  const void *bias;   /* [height], or [ld] */
  int64_t lanes;      /* that are stored: of row strips of ld, of lane strips from the first tile on */
  int64_t tile, less; /* of lane strips, from tile to tile: bytes, and how many lanes fewer there are */
  ck_bounds bounds;
  int add; /* what dst holds, before the bounds */
} ck_finish;

/* Register tiles, one after the other: acc[i][j] = chain of multiply-adds over k from +0, or from what `from` holds, of
 * row i times lane j; stored in `to`, or added to what that holds; or, with `finish`, stored there alone, what `to`
 * holds having been added first: not of picked_strips or group_strips.
 *   row_strips    acc[i][j] += s[r(i) + ko[k]] * panel[k][j]      rows are scalars, broadcast, lanes vectors
 *   picked_strips acc[i][j] += s[r(i) + ko[k]] * panel[po[k] + j]  the same of some of the panel's rows
 *   group_strips  acc[i][j] += s[r(i) + ko[k] + j] * panel[k][j]  both are vectors, one of lanes
 *   lane_strips   acc[i][j] += panel[k][i] * s[ko[k] + j]         lanes are neighbours, rows come from the panel
 * Of the first three, each tile has its own rows, and the next one's are below in from and to, [rows][lanes]; of the
 * last, the next tile lies `beside` vectors on, and from and to are [height][ldc]. */
typedef struct ck_strip {
  int64_t k, tiles;
  const void *s;
  const int32_t *ko, *po; /* [k] */
  int64_t k_step; /* from ko[i] to ko[i + 1] in row_strips and lane_strips, of an even k, where it is constant; or 0 */
  const ck_row_panel *rows;
  const void *panel; /* [k][ld]; ld of whole vectors */
  const void *from;  /* or NULL */
  void *to;
  int64_t ldc;       /* elements from tile to tile of from and to: not of group_strips, whose tiles are adjacent */
  int64_t apart;     /* of row_strips: elements from tile to tile of the panel */
  const int32_t *vo; /* of lane_strips: where each vector of each tile lies, in elements, or NULL: side by side */
  int64_t beside;    /* of lane_strips: vectors from tile to tile, of vo, from and to */
  int64_t ahead; /* elements from what a tile of lane_strips reads to what is to be fetched for the next one, or 0; of
                    row_strips, which know where that is, whether it is */
  int add;
  const ck_finish *finish; /* or NULL */
  /* row_strips, picked_strips and lane_strips fetch a line of `next` with each product, and go on so many bytes. */
  const void *next;
  int64_t next_step, next_tile;
} ck_strip;
typedef void (*ck_strip_fn)(const ck_strip *);

/* What lies in memory and is wanted next: pieces of so many bytes, `apart`, of which `rate` sixteenths of a line are
 * fetched with each vector of sums. The first one begins `first` bytes after where the caller counts from. */
typedef struct ck_ahead {
  const char *at, *end;
  int64_t first, bytes, apart, rate, owed;
} ck_ahead;

/* One channel's plane: output row r, column x is the sum over k of panel[k] * s[r * s_row + ko[k] + x], as one chain.
 * k runs over `planes` of taps_y by taps_x taps; from tap row to tap row ko rises by s_tap. Where s_row is s_tap too,
 * rows of the window are loaded once for all output rows that they reach, and those at s + q * s_tap outside first..end
 * are padding, and not taken. */
typedef struct ck_plane {
  const void *s, *panel;
  const int32_t *ko;
  const void *first, *end;
  int64_t planes, taps_y, taps_x, rows, columns, s_row, s_tap;
  char *to;
  int64_t to_row;          /* bytes */
  int add;                 /* to what is there */
  const ck_finish *finish; /* its bias and bounds, if `to` is the user's; or NULL: then whole vectors are stored */
  ck_ahead *ahead;         /* two, of what is read and what is written; or NULL */
} ck_plane;

/* One line of outputs whose channels are neighbours, of some vectors of them: output column o is the sum over tap
 * rows r and taps t of panel[v][tap[r] + t] times what lies at from[r] + o * step + t * apart, as one chain, plus the
 * bias, within bounds. Columns outside inner..inner_end-1 have taps taken[i][0]..taken[i][1]-1 alone, the i-th of them.
 */
typedef struct ck_line {
  int64_t vectors, rows, taps, columns, inner, inner_end;
  int64_t part; /* if not 0, only the columns outside, of so many lanes of the first vector */
  const char *const *from;
  const int64_t *tap;
  const int64_t (*taken)[2];
  const void *panel, *bias;
  int64_t panel_apart;          /* elements from a vector's weights to the next one's */
  int64_t step, apart, to_step; /* bytes */
  int shared;                   /* whether a tap is as far from the next as a column, in either direction */
  char *to;
  ck_bounds bounds;
  ck_ahead *ahead; /* two, of what is read and what is written; or NULL */
} ck_line;

/* chain[v][t] goes on by the sum over columns o of g[v][o] * x[v][o][t], lane by lane: of vector v what lies v vectors
 * after g + o * g_step, and after x + o * x_step + t * apart. Columns outside inner..inner_end-1 have taps
 * taken[i][0]..taken[i][1]-1 alone, the i-th of them. */
typedef struct ck_weight_line {
  int64_t vectors, taps, columns, inner, inner_end;
  const int64_t (*taken)[2];
  const char *g, *x;
  int64_t g_step, x_step, apart; /* bytes */
  void *chain;
  int64_t chain_apart; /* elements from a vector's chains to the next one's */
  ck_ahead *ahead;     /* two, of both that are read; or NULL */
} ck_weight_line;

/* One plane of a 3x3 depthwise correlation: output row r, column x is the sum over taps (i, j) of weights[i * 3 + j]
 * times what lies at s + (r * step + i) * s_row + x * step elements + column[j], as one chain, plus the bias, within
 * bounds. Of the rows that are read only first..end-1 are not padding, and of the columns 0..width-1. The first `left`
 * and the last `right` vectors of a row read beyond it, with the taps whose bits are set: for each there is a mask for
 * each tap column. What lies there may be read, unless it is `guarded`: then nothing outside memory..memory_end-1.
 * Columns inner..inner_end-1 have all taps. Rows shorter than a vector are stored as whole ones but for the last
 * `alone` - 1, so that each writes into those after it. All but counts in bytes, at any address. */
typedef struct ck_sheet {
  const char *s;
  int64_t first, end, s_row, column[3], width, rows, columns, left, right, inner, inner_end;
  int step, guarded, left_taps, right_taps; /* step: 1 or 2 */
  const char *memory, *memory_end;
  const void *mask;           /* aligned */
  const char *weights, *bias; /* bias may be NULL */
  ck_bounds bounds;
  char *to;
  int64_t to_row, alone;
  const char *ahead, *ahead_to; /* of the plane to come, fetched meanwhile: as many bytes as are read and stored */
} ck_sheet;

/* panel[row[k]][j] = src[c * c_stride + t_off[t] + j * lane_stride], k = c * nt + t, j < lanes; zero for lanes <= j <
 * ld; without row, row[k] = k. Returns whether anything read was not finite. */
typedef struct ck_pack {
  void *panel;
  const char *src, *src_end; /* no byte from src_end on is ever read */
  int64_t ld, lanes, lane_stride, nc, c_stride, nt;
  const int64_t *t_off;
  const int32_t *row;
} ck_pack;

/* A few rows whose products are adjacent, against weights where they are: to[i][j] = chain over k of row i times
 * w[k * w_k + j * w_lane], or is added to. Either w_k is an element's bytes, with up to turned_lanes and a k of a line
 * of 64 bytes at least, or w_lane is: then chains may go on from what is there. */
typedef struct ck_unpacked {
  int64_t k, rows, lanes;
  const char *x, *w;
  int64_t x_row, w_k, w_lane; /* bytes */
  void *to, *chain;           /* [rows][ld], of whole vectors; chain: scratch */
  int64_t ld;
  int add, go_on;
} ck_unpacked;

/* A run of positions along the innermost axis: `length` of them from window offset dst, from source offset src (bytes)
 * on, src_step bytes apart. */
typedef struct ck_span {
  int32_t dst, length;
  int64_t src, src_step;
} ck_span;

/* Positions in bands, [band][channel][size]: the first `wider` bands have `size` of them, the others `less` fewer,
 * and each begins `apart` elements after the one before. */
typedef struct ck_bands {
  int64_t count, wider, size, less, apart;
} ck_bands;

/* Copies one block's window, un-expanded: for every image, (z, y) row, channel and span.
 * Element (channel c, window offset p) of image i lands at dst[i * dst_image + c * dst_channel + p * dst_position]. */
typedef struct ck_stage {
  void *dst;
  char *src;
  const char *src_end; /* no byte from src_end on is ever read */
  int64_t images, dst_image, src_image;
  int64_t channels, dst_channel, src_channel;
  int64_t lanes, src_lane; /* lanes > 0: besides, lane j of position p lands at p * dst_position + j */
  int64_t dst_position;
  int64_t rows;
  const int32_t *row_dst; /* [rows] window offsets */
  const int64_t *row_src; /* [rows] source offsets in bytes */
  int64_t spans;
  const ck_span *span;
  ck_bands bands; /* if any: of positions, those of one image after those of the other; nothing is padding */
} ck_stage;

/* c[i][j] = activation(c[i][j] + bias) over rows one after the other, not of an activation that is only bounds. The
 * bias is [rows] or else [ld], ld then being whole vectors; or NULL. */
typedef struct ck_sums {
  void *c;
  int64_t rows, ld;
  const void *bias;
  int bias_of_row, activation;
  double a, b;
} ck_sums;

/* Bias, bounds and store of one run of `count` pixels by `lanes` channels, out of c[pixel][lane] (c_lane 1, rows of
 * whole aligned vectors) or c[lane][pixel] (c_pixel 1). */
typedef struct ck_drain {
  const void *c;
  int64_t c_pixel, c_lane; /* strides in scratch */
  char *dst;
  int64_t count, lanes, dst_pixel, dst_lane; /* strides in bytes */
  const void *bias;                          /* [lanes] in scratch, or NULL */
  const ck_bounds *bounds;                   /* or NULL: none */
  int add;                                   /* add what dst holds, before the bounds */
  int copy;                                  /* no sums: -0 stays what it is; there is no bias */
  /* Transposed convolution: pixel x of the run is pixel x / phases of accumulators c + (x % phases) * c_phase (bytes).
   * 0 and 1 both say that there is but one. */
  int64_t phases, c_phase;
  /* Not NULL: pixel x's lanes are at c + places[x] (bytes), whatever its phase; dst's pixels are adjacent. */
  const int32_t *places;
} ck_drain;

/* Columns added up along one row of sums: for each lane, element j of `count` is +0, or what it was, plus element j of
 * each tap's column in each row, in turn: at from + row[r] + tap[t].at + j elements. Of a tap only elements
 * first..end-1 are added. Whole vectors are stored, and of columns read, up to VL - 1 elements before and after them.
 * With `finish` a row's sums go there alone, `count` of each lane and no more; its bias may be NULL. */
typedef struct ck_column_tap {
  int64_t at, first, end; /* at: bytes */
} ck_column_tap;
typedef struct ck_column_rows {
  int64_t lanes, count, rows, taps;
  const char *from;
  int64_t from_lane;  /* bytes; so is row */
  const int64_t *row; /* [rows] */
  const ck_column_tap *tap;
  void *to;
  int64_t to_lane; /* elements */
  int go_on;
  const ck_finish *finish; /* or NULL */
} ck_column_rows;

/* Deformable sampling points of one block: point t * pixels + p is tap t at pixel p.
 * coordinate = (real)(base[d][p] + tap[d][t]) + offset, rounded once; low = its floor, fraction what is left. Reals
 * hold whole coordinates exactly: they are floors of reals. */
typedef struct ck_points {
  int nd;
  int64_t pixels, taps, size[3];
  int64_t *base[3], *tap[3];
  int32_t *image;      /* [pixels], counted from the block's first */
  void *offset, *mask; /* [taps * nd][pixels] and [taps][pixels] in scratch; mask may be NULL */
  void *low[3];        /* [points]; CK_OUTSIDE where the coordinate is below -1, at size or beyond, or NaN */
  void *fraction[3];
  int64_t least[3], most[3]; /* source coordinates that are read, or least > most */
  /* [corner][point]: where each of the 2^nd corners lies in a staged image, in steps from `first`, and its share. A
   * corner outside lies `nowhere`, with share zero. */
  int64_t first[3], step[3], image_step, nowhere;
  int32_t *at;
  void *weight;
} ck_points;
enum { CK_OUTSIDE = -2 };

/* Up to two vectors of channels of a block's images. In place: lanes lie lane_stride bytes apart, images image_stride,
 * positions stride[d] along axis d of nd; staged, a position's lanes are adjacent, and the strides are not read. */
typedef struct ck_view {
  char *data;
  int64_t lanes, lane_stride, image_stride;
  const int64_t *stride;
} ck_view;

/* Interpolates some pixels' points of some taps, and multiplies by the mask:
 * out[(p - pixel) * pixel_step + (t - tap) * tap_step ..]. */
typedef struct ck_sample {
  const ck_points *points;
  ck_view image;
  int in_place;
  int64_t tap, taps, pixel, pixels;
  void *out;
  int64_t pixel_step, tap_step;
} ck_sample;

/* The way back of one tap of some pixels, for the same channels. g[pixel][lane] is the gradient of every sample; dx,
 * staged or in place like the image, gets its corners' shares added; sums[pixel][corner] is stored, or added to: the
 * sum over lanes of g times the corner. dx.data and sums may be NULL. */
typedef struct ck_sample_back {
  const ck_points *points;
  ck_view image, dx;
  int in_place;
  int64_t tap, pixel, pixels, lanes;
  const void *g;
  void *sums;
  int add;
} ck_sample_back;

/* A row of Winograd's tiles, one vector of channels: in, the 6x6 window elements of tile t, or the 4x4 of a gradient,
 * are from[y * from_row + x * VL + t * 4 * VL], and its 36 points to[e * to_point + t * to_tile]; out, the sums of its
 * points are from[e * from_point + t * from_tile], and its 4x4 outputs to[y * to_row + x * VL + t * 4 * VL]. */
typedef struct ck_winograd_tiles {
  int64_t tiles;
  const void *from;
  int64_t from_row, from_point, from_tile;
  void *to;
  int64_t to_point, to_tile, to_row;
} ck_winograd_tiles;

/* 3x3 weights from[c][tap][ld], turned over along an axis that says so, to points to[e * to_point + c * ld + j]. */
typedef struct ck_winograd_weights {
  int64_t channels, ld;
  const void *from;
  int flip_y, flip_x;
  void *to;
  int64_t to_point;
} ck_winograd_weights;

/* Gradients of weights: the sums of the points of row r, from[e * from_point + r * ld + j], j < ld; its nine
 * to[r * to_row + tap * ld + j]. */
typedef struct ck_winograd_taps {
  int64_t rows;
  const void *from;
  int64_t from_point, ld;
  void *to;
  int64_t to_row;
} ck_winograd_taps;

/* The offset of what lies outside the image and counts as zero; sums of three such offsets are still told from others.
 */
#define CK_NOWHERE (-((int64_t)1 << 60))

/* Positions sampled through tables [taps][ld]: gather is dst[p] = sum over k of weight[k][p] * src[offset[k][p]], for
 * every lane; scatter is its adjoint, src[offset[k][p]] += weight[k][p] * dst[p]. */
typedef struct ck_lookup {
  int64_t count, lanes, taps, ld;
  const int64_t *offset; /* bytes, or CK_NOWHERE */
  const void *weight;    /* NULL: one tap of weight 1 */
  char *src;
  const char *src_end; /* no byte from src_end on is ever read; NULL: nor any past the last lane */
  int64_t src_lane;    /* bytes; so are dst's */
  char *dst;
  int64_t dst_pixel, dst_lane;
  int checked; /* some offsets may be CK_NOWHERE */
  int whole;   /* what is written is scratch: whole vectors may be stored at the last lanes */
} ck_lookup;

/* dst[p] = (add ? dst[p] : 0) + sum over r of weight[r] * row[r][p], for every lane. */
typedef struct ck_blend {
  int64_t rows, count, lanes;
  const char *const *row;
  const double *weight; /* rounded to the dtype before use */
  int64_t row_pixel, row_lane;
  char *dst;
  int64_t dst_pixel, dst_lane;
  int add;
} ck_blend;

/* Where grid_sample's positions fall along one axis: for each of the axis's taps (1, 2 or 4) the offset of the element
 * that it reads, its weight, and the derivative of that weight with respect to the grid's coordinate. */
typedef struct ck_locate {
  const char *grid; /* the axis's coordinate of the first position */
  int64_t step;     /* bytes from position to position */
  int64_t count, size;
  int64_t first, last; /* elements outside first..last-1 are left out */
  int64_t unit;        /* what one element is worth in offsets */
  int sampling, border, align_corners;
  int64_t *offset;      /* [taps][ld] */
  void *weight, *slope; /* [taps][ld]; either may be NULL */
  int64_t ld;           /* whole vectors, at least count */
  int64_t least, most;  /* lowered and raised to the elements that are not left out */
} ck_locate;

/* sums[r][0][j] and sums[r][1][j] += the terms of value j < 16 of every group of run r, groups and runs being so many
 * bytes apart. Each run is of one channel, the numbers (the first four of ck_channels) being [runs], and groups are
 * adjacent, with `rest` more values after them; or, with `lanes`, each of the 16 is another channel. */
enum { CK_SUM_PARTS = 16 };
typedef struct ck_channel_sums {
  int64_t groups, rest, runs, x_step, g_step, x_run, g_run; /* rest: only after groups */
  int lanes;
  const char *x, *g; /* g may be NULL */
  const void *numbers[CK_CHANNEL_NUMBERS];
  double *sums;
  int sloped; /* g is to be multiplied by a derivative, which is 1 within `slope` */
  ck_bounds slope;
} ck_channel_sums;

/* `runs` runs of `count` adjacent elements, so many bytes apart: each of one channel, the numbers being [runs], or with
 * `lanes`, and then at least a vector, of `count` channels. y overlaps nothing. */
typedef struct ck_channel_map {
  int64_t count, runs, x_step, g_step, y_step;
  int lanes;
  const char *x, *g; /* g may be NULL */
  char *y;
  const void *numbers[CK_CHANNEL_NUMBERS];
  ck_bounds bounds; /* of y without g */
  int sloped;       /* as of sums */
  ck_bounds slope;
} ck_channel_map;

/* `rows` rows of c values, a vector of rows at most. With `along` the values of a row are adjacent, and each row has
 * its place; otherwise the rows are, from the first one on, and values are `step` bytes apart. */
enum { CK_MOST_ROWS = 16 };
typedef struct ck_row_tile {
  int op, x_along, y_along;
  int64_t rows, c, x_step, y_step;
  const char *x[CK_MOST_ROWS];
  char *y[CK_MOST_ROWS];
  const void *scale, *bias;
  double epsilon, factor, least;
  int64_t before, after;
  int quarters;
  const int64_t *labels;
  void *losses;
} ck_row_tile;

/* For measuring the machine. Bytes at fma's `sink`: zeros, 64-byte aligned. */
enum { CK_PEAK_SINK = 24 * 64 };

typedef struct ck_peak_kernels {
  void (*fma)(int64_t iterations, void *sink);       /* independent chains of multiply-adds, nothing else */
  void (*fma_chain)(int64_t iterations, void *sink); /* as many of them, in one chain */
  int64_t fma_flops;                                 /* of one iteration */
  void (*triad)(void *a, const void *b, const void *c, int64_t bytes); /* a = b + s*c; all in whole 64 bytes, aligned */
} ck_peak_kernels;

struct ck_kernels {
  int isa, real_size, vector; /* vector: reals in one */
  int max_height;
  ck_strip_fn row_strips[2][CK_MAX_HEIGHT + 1]; /* [vectors - 1][height] */
  ck_strip_fn picked_strips[2][CK_MAX_HEIGHT + 1];
  ck_strip_fn narrow_strips[CK_MAX_HEIGHT + 1]; /* of one vector, of which no more than half is lanes; or NULL */
  ck_strip_fn group_strips[CK_MAX_HEIGHT + 1];
  ck_strip_fn lane_strips[CK_MAX_HEIGHT + 1]
                         [CK_MAX_LANE_VECTORS]; /* [height][vectors - 1], up to lane_vectors[height] */
  int lane_vectors[CK_MAX_HEIGHT + 1];
  void (*plane)(const ck_plane *);
  void (*line)(const ck_line *);
  void (*weight_line)(const ck_weight_line *);
  void (*sheet)(const ck_sheet *);
  void (*unpacked)(const ck_unpacked *);
  int turned_lanes; /* at most, of one of these calls whose products are adjacent */
  int (*pack)(const ck_pack *);
  void (*stage)(const ck_stage *);
  void (*col2im)(const ck_column_rows *);
  void (*drain)(const ck_drain *);
  void (*winograd_in)(const ck_winograd_tiles *);
  void (*winograd_panel)(const ck_winograd_weights *);
  int (*winograd_out)(const ck_winograd_tiles *); /* whether any output is not finite */
  void (*winograd_grad)(const ck_winograd_tiles *);
  int (*winograd_taps)(const ck_winograd_taps *); /* whether any gradient is not finite */
  void (*activate_sums)(const ck_sums *);
  /* dst[i] = activation(src[i]), and dst[i] = g[i] * activation'(src[i]), src being what ck_activation says; not the
   * identity; arrays at any address, dst being the same as another or apart. */
  void (*activate)(void *dst, const void *src, int64_t count, int activation, double a, double b);
  void (*activation_gradient)(void *dst, const void *g, const void *src, int64_t count, int activation, double a,
                              double b);
  /* dst[i] = a[i] op b[i], of two numbers, or with `one` of all with b[0]; arrays at any address, dst being the same as
   * another or apart */
  void (*combine)(void *dst, const void *a, const void *b, int64_t count, int op, int one);
  void (*channel_sums)(const ck_channel_sums *);
  void (*channel_map)(const ck_channel_map *);
  void (*row_tile)(const ck_row_tile *);
  /* sum[j] += what pack would write as panel[k][j], and sum[j] += panel[k][j], over k, in order */
  void (*pack_sums)(const ck_pack *, void *sum);
  void (*column_sums)(const void *panel, int64_t k, int64_t ld, void *sum);
  /* dst[i] += src[i], over scratch */
  void (*add)(void *dst, const void *src, int64_t count);
  void (*deform_locate)(ck_points *);  /* low, fraction, least, most */
  void (*deform_corners)(ck_points *); /* at, weight */
  void (*sample)(const ck_sample *);
  void (*sample_back)(const ck_sample_back *);
  /* Out of sums over all channels of sums[pixel][corner] of one tap: slopes[d][pixel], d < nd, the gradient of the
   * offset along axis d, and slopes[nd][pixel] that of the mask. */
  void (*sample_slopes)(const ck_points *, int64_t tap, const void *sums, void *slopes);
  void (*pool_fold)(const ck_pool_fold *);
  /* Lines of n elements: dst[line][i * phases + f] = from[f][line][i], from's lines being as long as they need to be */
  void (*pool_join)(void *dst, const void *from, int64_t phases, int64_t lines, int64_t n);
  /* Whether anything brought in is not finite, and may be NaN; and the same of what is in place. */
  int (*pool_stage)(const ck_pool_stage *);
  int (*pool_scan)(const char *src, int64_t lines, int64_t line, int64_t count);
  void (*pool_finish)(const ck_pool_finish *);
  /* Stores CK_POOL_UNKNOWN where the maximum is -inf, as padding is, and returns whether there is one. */
  int (*pool_indices)(const ck_pool_indices *);
  /* a[i] = the larger of a[i] and b[i], or NaN, and its index; for the rest of windows that are folded in parts. */
  void (*pool_merge)(void *a, int64_t *a_index, const void *b, const int64_t *b_index, int64_t count);
  /* Sums over whole planes, 16 partial ones: element p counts in partial p % 16. partial is [planes][16] or, for
   * each vector of lanes, [16][vector]. The first is for planes of adjacent elements, and starts at element 0. */
  void (*pool_planes)(void *partial, const char *src, int64_t plane_step, int64_t planes, int64_t count,
                      const char *end);
  void (*pool_lane_planes)(void *partial, const char *src, int64_t step, int64_t count, int64_t phase, int64_t lanes,
                           const char *end);
  /* One vector of averages out of partial sums, halves added to halves; `lanes` says that they are [16][vector]. */
  void (*pool_whole)(void *average, const void *partial, int lanes, double count);
  int (*pool_points)(const ck_pool_points *); /* 0 if an index lies outside */
  void (*gather)(const ck_lookup *);
  void (*scatter)(const ck_lookup *);
  void (*blend)(const ck_blend *);
  /* dst[i] = src[i], rounded to the dtype */
  void (*narrow)(void *dst, const double *src, int64_t count);
  void (*grid_locate)(ck_locate *);
  /* dst[i] = a[i] * b[i], over scratch */
  void (*multiply)(void *dst, const void *a, const void *b, int64_t count);
  /* sum[a][p] += dst[p] * (sum over k of slope[a][k][p] * src[offset[k][p]]): for a vector of lanes, dst being scratch,
   * [count][vector], and sum [axes][ld][vector]; and for one lane, sum being [axes][ld]. */
  void (*grid_slopes)(const ck_lookup *, int axes, const void *slope, void *sum);
  void (*grid_plane_slopes)(const ck_lookup *, int axes, const void *slope, void *sum);
  /* dst[p] = sum over sum[p][0..lanes-1], dst's elements `step` bytes apart */
  void (*grid_lane_sums)(const void *sum, int64_t lanes, int64_t count, char *dst, int64_t step);
  void (*descend)(const ck_descent *, int64_t first, int64_t count);
  ck_peak_kernels peak;
};

#endif
