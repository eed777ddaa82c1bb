/* Deformable sampling as a source of columns: for a box of outputs and a block of (channel, tap) rows, points are
 * located once for each offset group, the part of the image that they touch is staged channel-last, a vector of
 * channels at a time, and every point is interpolated from there. */
#ifndef CK_SAMPLER_H
#define CK_SAMPLER_H

#include "base/arena.h"
#include "base/dispatch.h"
#include "base/geometry.h"

typedef struct ck_sampler {
  const ck_kernels *kernels;
  const ck_deform *call;
  int64_t channels; /* that share weights' and offsets' groups: vectors of channels do not cross */
  int64_t vectors;  /* of channels that are staged and sampled together */
  int whole;        /* no vector of a block of columns is short, so that none needs room after the block */
} ck_sampler;

/* The points of one box, tap box and offset group. */
typedef struct ck_samples {
  const ck_sampler *sampler;
  ck_points points;
  ck_box box;
  ck_kblock kblock;
  int64_t group;  /* the offset group located, -1 for none */
  int64_t region; /* positions staged, 0: read in place */
} ck_samples;

ck_sampler ck_sampler_make(const ck_kernels *kernels, const ck_deform *call);
/* For blocks of up to this many pixels and taps. */
void ck_samples_place(ck_samples *samples, const ck_sampler *sampler, int64_t pixels, int64_t taps, ck_arena *arena);
/* Bytes of a staged image. */
int64_t ck_sampler_image_bytes(const ck_sampler *sampler);

/* Elements from one tap's samples of a pixel to the next one's, for `channels` channels: room for the last vector. */
int64_t ck_samples_tap_step(const ck_sampler *sampler, int64_t channels);

/* Locates the points of this box, tap box and offset group; nothing is done if they are those located already. */
void ck_samples_locate(ck_samples *samples, const ck_box *box, const ck_kblock *kblock, int64_t group);
/* `lanes` channels from `channel` on, `apart` from each other, of the box's image: staged in `image` if they are near
 * enough for that. */
ck_view ck_samples_stage(const ck_samples *samples, int64_t channel, int64_t apart, int64_t lanes, char *image);
/* The same place in a tensor of x's shape, or a staged one of zeros; and adding what was staged to the tensor. */
ck_view ck_samples_start(const ck_samples *samples, const ck_tensor *tensor, int64_t channel, int64_t lanes,
                         char *image);
void ck_samples_add(const ck_samples *samples, const ck_tensor *tensor, int64_t channel, int64_t lanes,
                    const char *image);

/* Columns of channels kblock->channel.. (counted from first_channel) and its taps: out[pixel][tap][channel]. */
void ck_samples_columns(ck_samples *samples, const ck_box *box, const ck_kblock *kblock, int64_t first_channel,
                        char *image, char *out);
/* The same of `groups` groups, at most a vector of them, whose first channel is first_channel:
 * out[pixel][tap][channel], a vector of groups each. They share their offsets, where ck_sampler_by_group holds. */
void ck_samples_group_columns(ck_samples *samples, const ck_box *box, const ck_kblock *kblock, int64_t first_channel,
                              int64_t groups, char *image, char *out);
int ck_sampler_by_group(const ck_sampler *sampler);
/* Elements from one channel to the next, and from one tap to the next, as either of them has it. */
void ck_samples_column_offsets(const ck_samples *samples, int64_t channel_step, int64_t tap_step, int32_t *pixels,
                               int32_t *rows);

/* The channels from `channel` on that go together: at most `vectors`, and none beyond a group. */
int64_t ck_sampler_lanes(const ck_sampler *sampler, int64_t channel, int64_t end);

#endif
