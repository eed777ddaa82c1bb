/* One chunk of outputs, at work: what the gradients of a deformable convolution share.
 *
 * Outputs are worked off in chunks, small images together or boxes of one, and in each its points are located once and
 * its gradient is laid out once, in the shared part of the workspace.  Then tasks take runs of tiles, a tile being a
 * vector or two of channels that share an offset group and a weight group, with all their taps. */
#ifndef CK_DEFORM_CHUNK_H
#define CK_DEFORM_CHUNK_H

#include "base/arena.h"
#include "dense/sampler.h"

typedef struct ck_chunk {
  const ck_deform *call;
  const ck_kernels *k;
  ck_sampler sampler;
  ck_grid grid;
  ck_reduction taps;                    /* tap boxes, a channel at a time */
  int64_t pixels, tap_count;            /* of the largest chunk and tap box */
  int64_t group_tiles, group_parts;     /* tiles of an offset group, and the runs of them that are tasks */
  int64_t run;                          /* pixels that are sampled at a time */
  int64_t weight_outputs, weight_parts; /* output channels of a panel of the weight's gradient, and panels */
  int64_t weight_taps;                  /* taps of such a panel */
  int64_t back_outputs, back_taps;      /* of a panel of weights */
  int64_t sums_bytes;                   /* corner sums of one part */
  int64_t shared, bytes;                /* of the workspace: shared, and for each thread */
  /* The chunk at work. */
  ck_box box;
  ck_kblock kblock;
  int first; /* the first of its tap box */
  ck_samples *samples;
  char *g;    /* [tile of output channels][pixel][lane], over all weight groups */
  char *sums; /* [offset group][part] of [tap][pixel][corner] */
} ck_chunk;

/* A thread's scratch. */
typedef struct ck_chunk_buffers {
  char *image, *dx, *columns, *panel, *act;
  int64_t *offset;
  int32_t *output, *pixel, *row; /* where output channels and pixels lie in g; rows of a panel */
  ck_row_panel *rows;            /* register tiles of pixels or output channels */
} ck_chunk_buffers;

/* Channels that go together. */
typedef struct ck_chunk_tile {
  const ck_samples *samples;
  int64_t channel, lanes, vectors, weight_group;
} ck_chunk_tile;

ck_chunk ck_chunk_make(const ck_deform *call);
void ck_chunk_place(const ck_chunk *chunk, ck_arena *arena, ck_chunk_buffers *buffers);
/* Takes the shared part of the workspace, and locates and lays out the chunk of this box and tap box. */
void ck_chunk_share(ck_chunk *chunk);
ck_status ck_chunk_load(ck_chunk *chunk, const ck_box *box, const ck_kblock *kblock);

/* A part's tiles are first..end-1 of its offset group. */
void ck_chunk_part(const ck_chunk *chunk, int64_t part, int64_t *group, int64_t *first, int64_t *end);
/* One of them; sets the buffers' offsets of output channels, those of its weight group. */
ck_chunk_tile ck_chunk_tile_at(const ck_chunk *chunk, ck_chunk_buffers *buffers, int64_t group, int64_t tile);

/* The memory offsets of taps first..first+count-1 of the tap box, for these strides of the three axes. */
void ck_chunk_tap_offsets(const ck_chunk *chunk, const int64_t stride[3], int64_t first, int64_t count,
                          int64_t *offset);

#endif
