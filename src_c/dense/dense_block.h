/* One block of a correlation, at work. */
#ifndef CK_DENSE_BLOCK_H
#define CK_DENSE_BLOCK_H

#include "base/parallel.h"
#include "dense_place.h"
#include "dense_runs.h"

typedef struct ck_block {
  const ck_dense *d;
  const ck_dense_plan *p;
  ck_buffers b;
  ck_box box;
  int64_t outer, pixels;  /* pixels: of the accumulators */
  int64_t patches;        /* by pixel and by group */
  int resorted;           /* patches have other rows than the tables are for */
  const char *panels;     /* all, where weights lie ready, or NULL */
  const char *panel;      /* of the tile and k-block at work */
  const char *next_panel; /* or of weights as they are, or NULL */
  int64_t next_row;       /* their bytes from product to product; 0: of a panel */
  int64_t laid;           /* which of all panels lies in scratch, or -1 */
  int laid_nonfinite;     /* whether its weights are not all finite */
  int64_t pitch;          /* of accumulators by pixel, from row to row: pixels of a row, or more */
  int settled;            /* pixels, patches, and what follows, until the phases, are the box's */
  const char *placed;     /* of phases that are joined: the accumulators that places are set for */
  int64_t placed_pixel;   /* and those bytes from pixel to pixel */
  int64_t kblocks, kept;  /* up to the last with a tap; the one that the tables are set for, or -1 */
  ck_kblock kblock;       /* this one */
  int64_t taken;          /* its taps */
  int whole;              /* it has all its taps */
  const char *data;       /* that offsets count from: the window's, or the source's own */
  ck_lane_runs runs;      /* by channel */
  int in_place, straight; /* straight: tiles are stored by the micro-kernel, without a drain */
  int leading, finishing; /* now: the task's first tile; a tile with the last k-block */
  int fetches;            /* by plane: whether what the next group reads and writes is fetched */
  ck_ahead ahead[2];
  int64_t tap[3], taps[3];  /* those that are not padding for the whole block */
  int64_t phase, phase_end; /* the phases of this task */
  ck_worker *worker;
} ck_block;

/* A tile's place: its lanes, how many, and where they begin in weights, output and bias. */
typedef struct ck_tile {
  int64_t lanes, ld, w_lane, dst_lane, bias_lane;
  const char *w, *bias;
  char *dst;
} ck_tile;

ck_tile ck_dense_tile_at(const ck_dense *dense, const ck_dense_plan *plan, int64_t outer, int64_t tile);

/* One phase's part of the panel, and where its sums go. */
typedef struct ck_part {
  int64_t k;
  const ck_phase_taps *taps; /* by plane */
  const char *panel;
  const int32_t *ko;
  char *acc;
  int accumulate;
} ck_part;

/* The phase of a tap along an axis, as those of the correlation are numbered; it may be beyond them. */
static inline int64_t ck_dense_phase_of(const ck_dense *d, int i, int64_t tap) {
  return d->tapped ? tap % d->phases[i] : ck_tap_phase(&d->source.axis[i], tap);
}

#endif
