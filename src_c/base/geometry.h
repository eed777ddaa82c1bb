/* Sizes, axis maps and block decomposition: integer arithmetic only, no arrays of the user's. */
#ifndef CK_GEOMETRY_H
#define CK_GEOMETRY_H

#include "convkit.h"

static inline int64_t ck_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t ck_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t ck_ceil_div(int64_t a, int64_t b) { return a / b + (a % b > 0); } /* a + b may not fit */
static inline int64_t ck_floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
static inline int64_t ck_round_up(int64_t a, int64_t b) { return ck_ceil_div(a, b) * b; }
static inline int64_t ck_gcd(int64_t a, int64_t b) { return b ? ck_gcd(b, a % b) : a; }
static inline int ck_sampling_taps(int sampling) { return 1 << sampling; } /* elements along an axis: 1, 2 or 4 */
static inline int64_t ck_taps_of(const int64_t taps[3]) { return taps[0] * taps[1] * taps[2]; }
/* Of taps in row-major order, so many bytes apart along each axis. */
void ck_tap_offsets(const int64_t taps[3], const int64_t stride[3], int64_t *offset);

/* Part i of `size` cut into `parts` that differ by one at most. Written so that size * i cannot overflow. */
static inline int64_t ck_part_start(int64_t size, int64_t parts, int64_t i) {
  return size / parts * i + ck_min(i, size % parts);
}

/* Whether the product of `count` sizes fits 64 bits; *product is set if so. */
int ck_product(const int64_t *sizes, int count, int64_t *product);

/* Of `most` threads, those that a problem of so many factors is worth, each with at least `each` of their product: in a
 * small one, to wake another takes longer than it saves. */
int ck_worth_threads(int most, const int64_t *factors, int count, int64_t each);

/* One spatial axis of a correlation: output o reads, for tap t, source coordinate base + o * step + ck_tap_offset(t).
 * Coordinates outside 0..source-1 are padding, mapped by mode.
 *
 * stride == 0: the offset is t * tap_step, as in forward convolution.  stride >= 1: outputs are those of a transposed
 * convolution, in `stride` phases: output o stands for coordinates o * stride + f, f = 0..stride-1, shifted by `shift`,
 * and tap t contributes to phase ck_tap_phase(t) alone. */
typedef struct ck_axis {
  int64_t outputs, source, base, step, taps, tap_step, stride, shift;
  int mode;
  int adjacent; /* neighbouring outputs must have neighbouring window positions */
  int holes;    /* a hull may have so many positions for each that is read; 0 is 1 */
} ck_axis;

int64_t ck_tap_offset(const ck_axis *axis, int64_t t);
/* From tap to tap, and the taps of three axes in all. */
static inline int64_t ck_taps_apart(const ck_axis *axis) { return ck_tap_offset(axis, 1) - ck_tap_offset(axis, 0); }
static inline int64_t ck_axes_taps(const ck_axis axis[3]) { return axis[0].taps * axis[1].taps * axis[2].taps; }
int64_t ck_tap_phase(const ck_axis *axis, int64_t t);
int64_t ck_axis_at(const ck_axis *axis, int64_t o, int64_t t); /* what output o reads for tap t, padding or not */

/* Phases with a tap: tap t belongs to phase t % that number. */
int64_t ck_tapped_phases(const ck_axis *axis);

/* Source coordinate of a padded one, or -1 for a zero. */
int64_t ck_map_axis(int64_t coordinate, int64_t size, int mode);

/* Window positions that a block of n outputs and m taps needs: the hull of what it reads, or, where the hull is mostly
 * holes (large stride or dilation; more than `holes` says), one position for each output and tap. */
int64_t ck_axis_extent(const ck_axis *axis, int64_t n, int64_t m);

/* The most that it is of up to n outputs and m taps. */
int64_t ck_axis_bound(const ck_axis *axis, int64_t n, int64_t m);

/* Window positions from one output to the next. */
int64_t ck_axis_step(const ck_axis *axis, int64_t n, int64_t m);

/* Fills, for outputs o0.. and taps t0.., the source coordinate of each window position, and the offsets whose sum is
 * the position that output o reads for tap t. Returns 1 if any position is padding. */
int ck_axis_block(const ck_axis *axis, int64_t o0, int64_t n, int64_t t0, int64_t m, int64_t *source, int32_t *output,
                  int32_t *tap);

/* The taps that read inside the source for any of outputs o0..o0+n-1, which are neighbours: *count of them from *first
 * on. All of them, where padding is not zeros. */
void ck_axis_taken(const ck_axis *axis, int64_t o0, int64_t n, int64_t *first, int64_t *count);

/* Of outputs o0..o0+n-1, the first that reads inside the source for tap t, and the end of those; all of them, where
 * padding is not zeros. */
void ck_axis_reach(const ck_axis *axis, int64_t t, int64_t o0, int64_t n, int64_t *first, int64_t *end);

/* How many of outputs o0..o0+n-1, from o0 on, read inside the source for the same taps. */
int64_t ck_axis_alike(const ck_axis *axis, int64_t o0, int64_t n);

/* Outputs *first..*end-1 read inside the source for every tap; none where *first >= *end. */
void ck_axis_inner(const ck_axis *axis, int64_t *first, int64_t *end);

/* Of `columns` outputs from `first` on those, counted from there, that read inside the source for every tap; of each
 * other one, in order, the first tap that reads inside and the end of those. */
void ck_axis_columns(const ck_axis *axis, int64_t first, int64_t columns, int64_t *inner, int64_t *inner_end,
                     int64_t (*taken)[2]);

/* Whether all steps of the axis are so small that their products with strides in bytes fit 64 bits. */
int ck_axis_is_near(const ck_axis *axis);

/* Whether every output reads inside the source for every tap: then the mode of padding makes no difference. */
int ck_axis_is_inside(const ck_axis *axis);

/* An (images, depth, height, width) region cut into balanced blocks, each within one of three segments of its axis:
 * 0..edge[0]-1, edge[0]..edge[1]-1 and the rest. */
typedef struct ck_grid {
  int64_t size[4], edge[4][2], segment_parts[4][3], parts[4]; /* parts: of an axis, in all */
} ck_grid;
typedef struct ck_box {
  int64_t first[4], size[4];
} ck_box;
ck_grid ck_grid_make(const int64_t size[4], const int64_t block[4]);
/* The same with edges: edge[d] for each axis, or size[d] twice. */
ck_grid ck_grid_make_cut(const int64_t size[4], const int64_t block[4], const int64_t edge[4][2]);
int64_t ck_grid_count(const ck_grid *grid);
void ck_grid_part(const ck_grid *grid, int axis, int64_t index, int64_t *first, int64_t *size);
int64_t ck_grid_largest(const ck_grid *grid, int dimension);
ck_box ck_grid_box(const ck_grid *grid, int64_t index);
int64_t ck_box_count(const ck_box *box);
int ck_box_alike(const ck_box *a, const ck_box *b); /* the same box, of whichever images */

/* Blocks of about `target` elements, with the innermost axis cut into `cuts`: whole inner axes first, then whole small
 * images together. */
void ck_row_block(const int64_t size[4], int64_t target, int64_t cuts, int64_t block[4]);

/* Blocks of about `target` elements: whole small images together, or boxes of one image that are nearly square, so that
 * the margin around them is small; an axis is not cut where it is up to `aspect` times a square's side. */
void ck_square_block(const int64_t size[4], int64_t target, int64_t aspect, int64_t block[4]);

/* The reduction over (channel, tap), cut into k-blocks: whole channels, about `cap` products; a kernel of more than
 * `cap` taps is cut itself, outermost axis first.  Fixed by channels, taps and cap alone: it decides bits. */
typedef struct ck_reduction {
  int64_t channels, taps[3], parts[4]; /* parts: channels, depth, height, width */
} ck_reduction;
typedef struct ck_kblock {
  int64_t channel, channels, tap[3], taps[3];
} ck_kblock;
static inline int64_t ck_kblock_k(const ck_kblock *block) { return block->channels * ck_taps_of(block->taps); }
ck_reduction ck_reduction_make(int64_t channels, const int64_t taps[3], int64_t cap);
int64_t ck_reduction_count(const ck_reduction *reduction);
ck_kblock ck_reduction_block(const ck_reduction *reduction, int64_t index);
ck_kblock ck_reduction_largest(const ck_reduction *reduction);

/* One past the last byte of a strided array; of a tensor that is not there NULL. */
const char *ck_tensor_end(const ck_tensor *tensor, int64_t n, int64_t channels, const int64_t spatial[3], int64_t item);

#endif
