/* The window: what one block reads of its source, padded but not expanded, in scratch, with the offset tables through
 * which the micro-kernel finds (output, channel, tap) in it. */
#ifndef CK_WINDOW_H
#define CK_WINDOW_H

#include "base/arena.h"
#include "base/dispatch.h"

typedef enum ck_order {
  CK_PLANES,      /* one plane of positions a channel */
  CK_INTERLEAVED, /* the block's channels adjacent at each position */
  CK_VECTORS,     /* the same, up to a whole vector of them */
  CK_LANES,       /* one plane a channel, a vector of groups at each position */
  CK_COLUMNS,     /* as im2col has them: a row of the block's outputs for each (channel, tap) */
  CK_BANDS,       /* of one tap: the outputs that a register tile takes, channel after channel; then the next tile's */
} ck_order;

/* Where windows of a call come from; the pointer already stands at the call's first channel. */
typedef struct ck_source {
  ck_axis axis[3];
  ck_tensor tensor, act_y; /* act_y.data may be NULL: else the source is tensor * activation'(act_y) */
  const char *end, *act_end;
  int64_t lane_channels; /* CK_LANES: channels from a lane to its neighbour */
  int activation;
  double act_a, act_b;
  ck_order order;
  int64_t band, band_unit; /* CK_BANDS: outputs of one at most; their number is a multiple of */
} ck_source;

/* Block sizes at their largest, from which every buffer's size follows. */
typedef struct ck_window_size {
  int64_t outputs[4], channels, taps[3];
} ck_window_size;

typedef struct ck_window {
  const ck_kernels *kernels;
  const ck_source *source;
  ck_box box;
  ck_kblock kblock;
  int64_t extent[3], positions; /* of one image */
  int64_t plane;                /* positions of one channel, over the block's images */
  int64_t unit, channel_step;   /* elements between neighbouring positions, between channels */
  int padded;
  int64_t zeroed;          /* channels whose padding holds zeros */
  const ck_tensor *listed; /* whose rows and spans are in the tables, if they are of this geometry */
  int64_t lanes, rows, spans;
  ck_bands bands;
  void *data, *act_data;
  int64_t *axis_source[3];
  int32_t *axis_output[3], *axis_tap[3];
  int32_t *row_dst;
  int64_t *row_src;
  ck_span *span;
} ck_window;

/* Elements of scratch that hold one window. */
ck_window_size ck_window_size_of(const ck_grid *grid, const ck_reduction *reduction);
int64_t ck_window_elements(const ck_kernels *kernels, const ck_source *source, const ck_window_size *size);

/* Takes the window and its tables out of scratch. */
void ck_window_place(ck_window *window, const ck_kernels *kernels, const ck_source *source, const ck_window_size *size,
                     ck_arena *arena);

/* Chooses the block: outputs `box`, reduction `kblock`. Tables and, where there is padding, zeros are written if the
 * geometry changed; then the data are copied. Channel 0 of kblock is first_channel of the tensor; `lanes` is
 * the number of lanes in use (CK_LANES). Returns 0 if all offsets are those of the block before. */
int ck_window_fill(ck_window *window, const ck_box *box, const ck_kblock *kblock, int64_t first_channel, int64_t lanes);

/* The same choice of block without reading anything. */
void ck_window_set(ck_window *window, const ck_box *box, const ck_kblock *kblock);

/* Offsets of the outputs, images first, and of the (channel, tap) pairs, channels first. */
void ck_window_output_offsets(const ck_window *window, int32_t *offsets);
void ck_window_tap_offsets(const ck_window *window, int32_t *offsets);

#endif
