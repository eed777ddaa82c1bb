/* grid_sample's plan and scratch. */
#ifndef CK_GRID_PLAN_H
#define CK_GRID_PLAN_H

#include "base/arena.h"
#include "base/places.h"

enum { CK_GRID_CHUNK = 256 }; /* positions located, or stored, at once */

/* [taps][CK_GRID_CHUNK + a vector] of each axis. */
typedef struct axis_tables {
  int64_t *offset[3];
  char *weight[3], *slope[3];
} axis_tables;

typedef struct ck_grid_buffers {
  axis_tables axis;
  int64_t *offset;      /* [corners][ld] */
  char *weight, *slope; /* [corners][ld], [axes][corners][ld] */
  char *image;          /* [pixels][vector] */
  char *values;         /* [positions][vector] of the output or its gradient */
  char *sums;           /* [axes][ld][vector] */
} ck_grid_buffers;

typedef struct ck_grid_plan {
  const ck_grid_sample *call;
  const ck_kernels *k;
  ck_grid_op op;
  int64_t taps, corners, ld, item, vector_bytes;
  ck_places in, out; /* of the first image */
  int few;           /* channels */
  int adjacent;      /* x's channels are: read or added to in place */
  int staged;        /* tables are for a copy of part of the image, a vector of channels at each pixel */
  int64_t unit[3];
  int64_t vectors;                  /* of channels */
  int64_t block, blocks;            /* positions, and blocks of them */
  int64_t parts, bands, image_most; /* of channels; of rows; vectors of pixels in scratch */
  int64_t bytes;
} ck_grid_plan;

ck_grid_plan ck_grid_plan_make(const ck_grid_sample *call, ck_grid_op op);

/* Takes a thread's buffers out of scratch, or, from an arena without memory, only counts. */
ck_grid_buffers ck_grid_place(const ck_grid_plan *plan, ck_arena *arena);

/* Image `image` of x, of the output, and of a grid or its gradient, whose coordinates are its channels. */
ck_places ck_grid_in(const ck_grid_plan *plan, int64_t image);
ck_places ck_grid_out(const ck_grid_plan *plan, int64_t image);
ck_places ck_grid_coordinates(const ck_grid_plan *plan, const ck_tensor *grid, int64_t image);

#endif
