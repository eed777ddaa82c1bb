/* Everything one instruction set and dtype needs, and the table that names it. */
#include "base/dispatch.h"

#include "activation.h"
#include "channels.h"
#include "col2im.h"
#include "deform.h"
#include "descent.h"
#include "drain.h"
#include "elementwise.h"
#include "grid.h"
#include "lines.h"
#include "micro.h"
#include "pack.h"
#include "peak.h"
#include "planes.h"
#include "pool.h"
#include "pool_points.h"
#include "pool_whole.h"
#include "resize.h"
#include "rows.h"
#include "sheets.h"
#include "stage.h"
#include "unpacked.h"
#include "weight_lines.h"
#include "winograd.h"

#define ROWS_1(h) [h] = CK_NAME(rows_##h##x1),
#define ROWS_2(h) [h] = CK_NAME(rows_##h##x2),
#define PICKED_1(h) [h] = CK_NAME(picked_##h##x1),
#define PICKED_2(h) [h] = CK_NAME(picked_##h##x2),
#define GROUPS(h) [h] = CK_NAME(group_##h),
#define LANES_1(h, v) LANE_VECTORS(h) < v ? NULL : CK_NAME(lanes_##h##x##v)
#define LANES_ALL(h) [h] = {LANES_1(h, 1), LANES_1(h, 2), LANES_1(h, 3), LANES_1(h, 4), LANES_1(h, 5), LANES_1(h, 6)},
#define LANE_COUNT(h) [h] = LANE_VECTORS(h),

extern const ck_kernels CK_NAME(kernels);
const ck_kernels CK_NAME(kernels) = {
    .isa = CK_ISA,
    .real_size = sizeof(REAL),
    .vector = VL,
    .max_height = MAX_HEIGHT,
    .row_strips = {{FOR_EACH_HEIGHT(ROWS_1)}, {FOR_EACH_HEIGHT(ROWS_2)}},
    .picked_strips = {{FOR_EACH_HEIGHT(PICKED_1)}, {FOR_EACH_HEIGHT(PICKED_2)}},
    .narrow_strips = {FOR_EACH_HEIGHT(NARROW_STRIP)},
    .group_strips = {FOR_EACH_HEIGHT(GROUPS)},
    .lane_strips = {FOR_EACH_HEIGHT(LANES_ALL)},
    .lane_vectors = {FOR_EACH_HEIGHT(LANE_COUNT)},
    .plane = CK_NAME(plane),
    .line = CK_NAME(line),
    .weight_line = CK_NAME(weight_line),
    .sheet = CK_NAME(sheet),
    .unpacked = CK_NAME(unpacked),
    .turned_lanes = UNPACKED_VECTORS * VL,
    .pack = CK_NAME(pack),
    .stage = CK_NAME(stage),
    .col2im = CK_NAME(col2im),
    .drain = CK_NAME(drain),
    .winograd_in = CK_NAME(winograd_in),
    .winograd_panel = CK_NAME(winograd_panel),
    .winograd_out = CK_NAME(winograd_out),
    .winograd_grad = CK_NAME(winograd_grad),
    .winograd_taps = CK_NAME(winograd_taps),
    .activate_sums = CK_NAME(activate_sums),
    .activate = CK_NAME(activate),
    .activation_gradient = CK_NAME(activation_gradient),
    .combine = CK_NAME(combine),
    .channel_sums = CK_NAME(channel_sums),
    .channel_map = CK_NAME(channel_map),
    .row_tile = CK_NAME(row_tile),
    .pack_sums = CK_NAME(pack_sums),
    .column_sums = CK_NAME(column_sums),
    .add = CK_NAME(add),
    .deform_locate = CK_NAME(deform_locate),
    .deform_corners = CK_NAME(deform_corners),
    .sample = CK_NAME(sample),
    .sample_back = CK_NAME(sample_back),
    .sample_slopes = CK_NAME(sample_slopes),
    .pool_fold = CK_NAME(pool_fold),
    .pool_join = CK_NAME(pool_join),
    .pool_stage = CK_NAME(pool_stage),
    .pool_scan = CK_NAME(pool_scan),
    .pool_finish = CK_NAME(pool_finish),
    .pool_indices = CK_NAME(pool_indices),
    .pool_merge = CK_NAME(pool_merge),
    .pool_planes = CK_NAME(pool_planes),
    .pool_lane_planes = CK_NAME(pool_lane_planes),
    .pool_whole = CK_NAME(pool_whole),
    .pool_points = CK_NAME(pool_points),
    .gather = CK_NAME(gather),
    .scatter = CK_NAME(scatter),
    .blend = CK_NAME(blend),
    .narrow = CK_NAME(narrow),
    .grid_locate = CK_NAME(grid_locate),
    .multiply = CK_NAME(multiply),
    .grid_slopes = CK_NAME(grid_slopes),
    .grid_plane_slopes = CK_NAME(grid_plane_slopes),
    .grid_lane_sums = CK_NAME(grid_lane_sums),
    .descend = CK_NAME(descend),
    .peak = CK_PEAK_KERNELS,
};
