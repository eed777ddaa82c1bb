/* What one block of planes reads of its source, staged row by row so that neighbouring outputs have neighbouring
 * elements for every tap, and where each tap's elements lie in it. */
#ifndef CK_PLANES_BLOCK_H
#define CK_PLANES_BLOCK_H

#include "window.h"

/* An axis of a block whose positions are rows or planes in scratch: slots. They are the hull of what the block reads
 * or, where outputs share nothing and there would be holes, each output's taps one after the other (`sparse`). */
typedef struct ck_slots {
  const ck_axis *axis;
  int64_t first, count; /* outputs */
  int64_t step, slots;  /* slots from one output to the next, and in all */
  int64_t origin;       /* source coordinate of slot 0 of a hull */
  int sparse;
  int64_t lo, hi; /* slots that hold data: of the others, nothing is read and nothing staged */
} ck_slots;

ck_slots ck_slots_make(const ck_axis *axis, int64_t first, int64_t count);
/* The slot that the block's first output reads for tap t, and the source coordinate that a slot stands for. */
int64_t ck_slot_of_tap(const ck_slots *slots, int64_t t);
int64_t ck_slot_source(const ck_slots *slots, int64_t slot);

/* The innermost axis. A staged row is one segment for each residue of the stride that a tap reads, or one for each tap
 * where those are shorter. */
typedef struct ck_segment {
  int64_t at, length; /* in the staged row */
  int64_t first;      /* source coordinate of its first element; the others follow by the axis's step */
} ck_segment;

/* Elements of a staged row for so many outputs. */
int64_t ck_planes_pitch(const ck_kernels *kernels, const ck_axis *axis, int64_t count);

typedef struct ck_planes_size {
  int64_t channels, planes, rows, columns; /* the most there are of channels, z and y slots, outputs of a row */
  int mask;
} ck_planes_size;

typedef struct ck_planes_block {
  const ck_kernels *kernels;
  const ck_source *source;
  ck_slots z, y;
  int64_t first, count, channels; /* outputs of a row; channels */
  int64_t pitch, plane, channel;  /* elements from row to row, from plane to plane, from channel to channel */
  int64_t segments, spans, rows;
  int padded; /* whether rows have zeros in them that stand for padding */
  char *data, *act_data, *mask;
  int32_t *xo; /* [taps]: where the first output reads tap t in its row */
  ck_segment *segment;
  ck_span *span;
  int32_t *row_dst;
  int64_t *row_src;
} ck_planes_block;

void ck_planes_place(ck_planes_block *block, const ck_kernels *kernels, const ck_source *source,
                     const ck_planes_size *size, ck_arena *arena);
/* Chooses outputs `box` (images are the caller's) and how many channels, sets all tables, and zeros what stands for
 * padding. */
void ck_planes_set(ck_planes_block *block, const ck_box *box, int64_t channels);
/* Copies the block, channels from `channel` on, of one image. */
void ck_planes_fill(ck_planes_block *block, int64_t image, int64_t channel);

#endif
