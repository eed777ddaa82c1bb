/* What the kernels of pooling get: a part of the table in dispatch.h, which says how offsets and strides are counted.
 */
#ifndef CK_POOL_CALLS_H
#define CK_POOL_CALLS_H

#include <stdint.h>

enum { CK_POOL_PARTIALS = 16 };

/* How taps are folded, in order: a larger one displaces what came before, so the first of equals stays; or a NaN does,
 * too, so the last of them stays. */
typedef enum ck_pool_fold_op { CK_POOL_SUM, CK_POOL_LARGER, CK_POOL_LARGER_OR_NAN } ck_pool_fold_op;

/* Group g of every line: element j < length of the result is folded out of elements j of its taps, which begin at
 * src + line * src_line + first[g] * src_group, or g * src_group, and lie offset[t], or t * tap_step, further on. All
 * but counts in bytes. No taps: 0. Groups of one element are written one after the other, whatever dst_line says.
 *
 * A code says where a maximum was found: `indexed`, each result has one, t * code_step and, if `coded`, the tap's own
 * added; they are integers as wide as a real, `codes` bytes after their elements. */
typedef struct ck_pool_fold {
  ck_pool_fold_op op;
  int indexed, coded;
  int64_t lines, groups, length;
  const char *src; /* at any address */
  int64_t src_line, src_group;
  const int32_t *first, *count; /* of each group, or NULL */
  int64_t taps, tap_step;
  const int64_t *offset;
  int64_t rows, row_step; /* taps of so many rows, each row's folded first; 0 is 1 */
  char *dst;              /* may be src: nothing after a result has been overwritten when it is read */
  int64_t dst_line, dst_group;
  int64_t codes, code_step, row_code;
} ck_pool_fold;

/* Brings lines together in scratch, `line` elements each: `lead` neutral ones, `positions` of `inner` elements out of
 * row[line], neutral ones again; row NULL: all are. Behind the last line follow `lead` more. Positions are `step` bytes
 * apart, and after `run` of them, counted from `phase`, `jump` more; run 0: never. With `odd`, a line of single
 * elements is two of half the length: its even positions and, `odd` elements after them, its odd ones. */
typedef struct ck_pool_stage {
  void *dst;
  const char *const *row;
  const char *end; /* no byte from here on is ever read */
  int64_t lines, line, lead, positions, inner, step, run, phase, jump, odd;
  double neutral;
} ck_pool_stage;

/* Rows of finished results to user memory, or where they are: divided by scale[row] * divisor[element], or
 * scale[row] * even; without scale as they are. Whole vectors may be stored up to dst_end. */
typedef struct ck_pool_finish {
  int64_t planes, rows, positions, inner;
  const char *src;
  int64_t src_plane, src_row; /* bytes */
  char *dst;
  const char *dst_end;
  int64_t dst_plane, dst_row, dst_position, dst_inner;
  const double *scale;
  const void *divisor;
  double even;
} ck_pool_finish;

/* One row of indices: origin + position * step, or first[position], + code; of the first `lanes` elements of each
 * position. */
typedef struct ck_pool_indices {
  int64_t positions, inner, lanes, codes, origin, step;
  const int32_t *first;
  const void *value;
  char *dst;
  int64_t dst_position, dst_inner;
} ck_pool_indices;
enum { CK_POOL_UNKNOWN = -2 };

/* One line of scattering or gathering: point i belongs to element index[i] of the plane at plane + i * plane_step.
 * Element e lies e * step bytes on or, with step 0, where the plane's sizes and strides say. Steps are in bytes. */
typedef struct ck_pool_points {
  int op; /* CK_POOL_SCATTER_ADD, _SCATTER, _GATHER or _CHECK */
  int64_t count, elements;
  char *plane, *points;
  const char *index;
  int64_t plane_step, point_step, index_step, step;
  int64_t size[3], stride[3];
} ck_pool_points;

#endif
