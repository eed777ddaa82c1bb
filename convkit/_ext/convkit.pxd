# All of the C library's declarations that Cython uses: src_c/convkit.h.
from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from "convkit.h" nogil:
    ctypedef enum ck_status:
        CK_OK
        CK_INTERRUPTED
        CK_BAD_INDEX
        CK_FORKED

    const char *ck_status_name(ck_status status) noexcept

    enum:
        CK_F32
        CK_F64
        CK_ISAS

    ctypedef enum ck_padding_mode:
        CK_ZEROS
        CK_REFLECT
        CK_REPLICATE
        CK_CIRCULAR

    ctypedef enum ck_activation:
        CK_IDENTITY
        CK_RELU
        CK_LEAKY_RELU
        CK_SIGMOID
        CK_TANH
        CK_CLIP
        CK_SILU
        CK_GELU
        CK_HARD_SWISH
        CK_HARD_SIGMOID
        CK_ELU
        CK_GELU_TANH
        CK_SOFTPLUS
        CK_ELU_OF_X

    ctypedef enum ck_algorithm:
        CK_AUTO
        CK_IMPLICIT_GEMM
        CK_IM2COL
        CK_DIRECT
        CK_WINOGRAD

    ctypedef enum ck_conv_op:
        CK_FORWARD
        CK_GRAD_X
        CK_GRAD_WEIGHT
        CK_IM2COL_OP
        CK_COL2IM_OP
        CK_TRANSPOSED
        CK_TRANSPOSED_GRAD_X
        CK_TRANSPOSED_GRAD_WEIGHT

    ctypedef struct ck_kernels:
        pass
    const ck_kernels *ck_kernels_for(int dtype) noexcept
    const ck_kernels *ck_kernels_of(int isa, int dtype) noexcept

    ctypedef struct ck_run:
        int threads
        int flush_denormals
        int (*poll)() noexcept nogil
        void *workspace
        int64_t workspace_bytes
        int64_t limit

    ctypedef struct ck_conv_shape:
        int64_t n, groups, c_in, c_out
        int64_t in_ "in"[3]
        int64_t out[3]
        int64_t kernel[3]
        int64_t stride[3]
        int64_t dilation[3]
        int64_t pad_lo[3]
        int64_t pad_hi[3]
        int padding_mode

    ctypedef struct ck_tensor:
        void *data
        int64_t stride[5]

    ctypedef struct ck_panels:
        int kind
        int64_t bytes
        const void *data

    ctypedef struct ck_conv:
        ck_conv_shape shape
        const ck_kernels *kernels
        int algorithm
        ck_tensor x, weight, y, act_y
        void *bias
        int64_t bias_stride
        int add, prepared
        ck_panels panels
        int activation
        double act_a, act_b
        ck_run run

    enum:
        CK_MOST_ARRANGEMENTS

    ctypedef struct ck_explanation:
        int algorithm, arrangement, threads, reads
        double cycles[CK_MOST_ARRANGEMENTS]
        double chosen
        int64_t block[4]
        int64_t channels, lanes, tasks, workspace, shared_weights, shared_inputs, rounds, patches

    ck_status ck_conv_explain(const ck_conv *call, ck_conv_op op, ck_explanation *explanation) noexcept
    void ck_arrangements_take_only(int arrangements, int reads) noexcept
    const char *ck_arrangement_name(int arrangement) noexcept
    const char *ck_cost_name(int index, int *count) noexcept
    double ck_cost_at(int index, int i) noexcept
    void ck_cost_set(int index, int i, double value) noexcept
    ck_status ck_conv_workspace(const ck_conv *call, ck_conv_op op, int64_t *bytes) noexcept
    ck_panels ck_conv_panels(const ck_conv *call, ck_conv_op op) noexcept nogil
    void ck_conv_pack(const ck_conv *call, ck_conv_op op, void *panels) noexcept nogil
    ck_status ck_conv_run(const ck_conv *call, ck_conv_op op) noexcept
    ck_status ck_conv_supports(const ck_conv_shape *shape, int algorithm) noexcept

    ctypedef struct ck_deform:
        ck_conv conv
        int nd
        int64_t offset_groups
        ck_tensor offset, mask, dx, d_offset, d_mask, d_weight

    ck_status ck_deform_workspace(const ck_deform *call, int backward, int64_t *bytes) noexcept
    ck_status ck_deform_run(const ck_deform *call, int backward) noexcept

    ctypedef enum ck_pool_op:
        CK_POOL_MAX
        CK_POOL_AVERAGE
        CK_POOL_AVERAGE_GRAD
        CK_POOL_SCATTER_ADD
        CK_POOL_SCATTER
        CK_POOL_GATHER
        CK_POOL_CHECK

    ctypedef struct ck_pool_shape:
        int64_t n, channels
        int64_t in_ "in"[3]
        int64_t out[3]
        int64_t kernel[3]
        int64_t stride[3]
        int64_t dilation[3]
        int64_t pad_lo[3]
        int64_t pad_hi[3]
        int adaptive, count_pad

    ctypedef struct ck_pool:
        ck_pool_shape shape
        const ck_kernels *kernels
        ck_tensor x, y, indices
        ck_run run

    ck_status ck_pool_workspace(const ck_pool *call, ck_pool_op op, int64_t *bytes) noexcept
    ck_status ck_pool_run(const ck_pool *call, ck_pool_op op) noexcept

    ctypedef enum ck_sampling:
        CK_NEAREST
        CK_LINEAR
        CK_CUBIC

    ctypedef enum ck_border:
        CK_BORDER_ZEROS
        CK_BORDER_EDGE
        CK_BORDER_REFLECTION

    ctypedef enum ck_resize_op:
        CK_RESIZE
        CK_RESIZE_GRAD_X

    ctypedef struct ck_resize:
        int64_t n, channels
        int64_t in_ "in"[3]
        int64_t out[3]
        const ck_kernels *kernels
        int sampling, antialias
        double times[3]
        double over[3]
        double before, after
        int64_t first_in[3]
        int64_t first_out[3]
        int64_t whole_in[3]
        int64_t whole_out[3]
        ck_tensor x, y
        ck_run run

    ck_status ck_resize_workspace(const ck_resize *call, ck_resize_op op, int64_t *bytes) noexcept
    ck_status ck_resize_run(const ck_resize *call, ck_resize_op op) noexcept

    ctypedef enum ck_grid_op:
        CK_GRID_SAMPLE
        CK_GRID_GRAD_X
        CK_GRID_GRAD_GRID

    ctypedef struct ck_grid_sample:
        int64_t n, channels
        int64_t in_ "in"[3]
        int64_t out[3]
        const ck_kernels *kernels
        int axes, sampling, border, align_corners
        ck_tensor x, grid, y, grad_grid
        ck_run run

    ck_status ck_grid_workspace(const ck_grid_sample *call, ck_grid_op op, int64_t *bytes) noexcept
    ck_status ck_grid_run(const ck_grid_sample *call, ck_grid_op op) noexcept

    enum:
        CK_AXES
        CK_CHANNEL_NUMBERS
        CK_STEP_PLACES

    ctypedef enum ck_element_op:
        CK_ACTIVATE
        CK_ACTIVATE_BACK
        CK_PLUS
        CK_MINUS
        CK_TIMES
        CK_OVER
        CK_LARGER
        CK_SMALLER

    ctypedef struct ck_strided:
        void *data
        int64_t stride[CK_AXES]

    ctypedef struct ck_elementwise:
        ck_element_op op
        int axes
        int64_t size[CK_AXES]
        const ck_kernels *kernels
        ck_strided y, a, b
        int activation
        double act_a, act_b
        ck_run run

    ck_status ck_elementwise_run(const ck_elementwise *call) noexcept

    ctypedef struct ck_channels:
        int64_t n, c, l
        int lanes
        int64_t cuts
        const ck_kernels *kernels
        ck_strided x, g, y
        const void *numbers[CK_CHANNEL_NUMBERS]
        double *sums
        int activation
        double act_a, act_b
        ck_run run

    int64_t ck_channels_workspace(const ck_channels *call) noexcept
    ck_status ck_channels_run(const ck_channels *call) noexcept

    ctypedef enum ck_known:
        CK_SCALE
        CK_SHIFT
        CK_REST
        CK_INV_STD
        CK_VARIANCE
        CK_EXTREME
        CK_KNOWN

    ctypedef struct ck_normal:
        ck_channels arrays
        int64_t pieces, channels
        double epsilon
        double *known
        const void *weight
        const void *bias
        int apart
        void *total
        void *product
        int constant, extreme

    int64_t ck_normal_workspace(const ck_normal *call) noexcept
    ck_status ck_normal_forward(ck_normal *call) noexcept
    ck_status ck_normal_backward(const ck_normal *call) noexcept

    ctypedef struct ck_follow:
        const double *known
        int64_t channels
        int variance
        double times, rate
        void *running
        int64_t stride
        size_t real_size

    void ck_follow_run(const ck_follow *call) noexcept

    ctypedef enum ck_row_op:
        CK_SOFTMAX
        CK_STANDARD
        CK_RESPONSE
        CK_CROSS_ENTROPY
        CK_BY_NORM
        CK_TOTAL
        CK_ROOT

    ctypedef struct ck_rows:
        ck_row_op op
        int64_t n, c, l
        const ck_kernels *kernels
        ck_strided x, y
        const void *scale
        const void *bias
        double epsilon, factor, least
        int64_t before, after
        int quarters
        const int64_t *labels
        void *losses
        ck_run run

    ck_status ck_rows_run(const ck_rows *call) noexcept

    enum:
        CK_STEP_CONV
        CK_STEP_DEFORM
        CK_STEP_POOL
        CK_STEP_RESIZE
        CK_STEP_GRID
        CK_STEP_ELEMENTWISE
        CK_STEP_CHANNELS
        CK_STEP_ROWS
        CK_STEP_NORMAL
        CK_STEP_TURNS
        CK_TURN_AXES
        CK_ROOM
        CK_FIXED

    ctypedef struct ck_place:
        int field, base
        int64_t offset
        int64_t step[CK_TURN_AXES]

    ctypedef struct ck_step:
        int kind, op
        const void *call
        int places
        ck_place place[CK_STEP_PLACES]
        int behind
        int64_t times
        int64_t size[CK_TURN_AXES]
        int apart
        int64_t room, workspace

    ck_status ck_program_run(const ck_step *steps, int64_t count, char **bases, const ck_run *run,
                             double *seconds) noexcept

    ctypedef struct ck_descent:
        int64_t count
        const ck_kernels *kernels
        void *w
        void *m
        void *s
        const void *g
        double rate, keep, l2, m_keep, m_take, look, ahead, s_keep, s_take, s_scale, eps
        int s_first

    ck_status ck_descent_run(const ck_descent *calls, int64_t count, const ck_run *run) noexcept

    ctypedef struct ck_cpu:
        uint32_t leaf1_ecx, leaf7_ebx
        uint64_t xcr0

    enum:
        CK_BLOCK_LEAST

    void *ck_block_take(size_t bytes) noexcept
    void ck_block_give(void *block) noexcept
    size_t ck_block_bytes(const void *block) noexcept
    void ck_blocks_limit(int64_t bytes) noexcept
    void ck_blocks_clear() noexcept
    int64_t ck_blocks_kept() noexcept

    const char *ck_isa_name(int isa) noexcept
    int ck_isa_built(int isa) noexcept
    int ck_isa_available(int isa) noexcept
    int ck_isa_current() noexcept
    int ck_isa_set(int isa) noexcept
    int ck_isa_from_cpu(ck_cpu cpu) noexcept
    const char *ck_compiler() noexcept
    enum:
        CK_THREADINGS

    const char *ck_threading_name(int way) noexcept
    int ck_threading_built(int way) noexcept
    int ck_threading_current() noexcept
    int ck_threading_set(int way) noexcept
    int ck_after_fork() noexcept
    double ck_measure_fma(int dtype, int threads, double seconds) noexcept
    int ck_fma_per_cycle(const ck_kernels *kernels) noexcept
    double ck_measure_triad(void *buffer, int64_t bytes, int threads, double seconds) noexcept
