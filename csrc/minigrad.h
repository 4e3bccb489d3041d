/* minigrad.h: what every C file shares: the call record, the table, the pool.
 *
 * A kernel is `int kernel(const mg_call *call)`.  It never allocates, never
 * calls Python, reads everything from the call and returns a status.  One
 * record describes a whole call, so the same object can be launched, recorded,
 * printed, profiled and replayed.
 */
#ifndef MINIGRAD_H
#define MINIGRAD_H

#include <stddef.h>
#include <stdint.h>

enum {
    MG_MAX_ARRAYS = 4,  /* array arguments of one call (an update passes tables) */
    MG_MAX_AXES = 4,    /* axes of an elementwise call or a reduction, after merging */
    MG_MAX_SCALARS = 14,
    MG_MAX_THREADS = 64,
    MG_MAX_CHAIN = 24,  /* elementwise calls that run together, block by block */
};

typedef enum {
    MG_OK = 0,
    MG_BAD_LABEL = 1,  /* a class label lies outside [0, classes) */
    MG_NO_MEMORY = 2,  /* no scratch could be had */
    MG_NO_KERNEL = 3,  /* the row has no C kernel on this target */
} mg_status;

/* A scalar is written into the call, or read from a cell when the kernel runs,
 * so that a recorded call stays valid while a learning rate or a counter moves. */
typedef enum { MG_IMMEDIATE, MG_CELL_F64, MG_CELL_I64, MG_CELL_U64 } mg_kind;

typedef struct {
    mg_kind kind;
    union {
        double number;
        void *cell;
    };
} mg_scalar;

typedef struct mg_call {
    int kernel;  /* row of kernels.def */
    int arrays;
    /* Destinations first, then inputs.  An update passes one table of pointers
     * (array[0], grouped by tensor) and one table of sizes (array[1]), followed by
     * the length and the stride in elements of each tensor's first axis. */
    void *array[MG_MAX_ARRAYS];
    int64_t itemsize[MG_MAX_ARRAYS]; /* bytes */
    int64_t size[MG_MAX_AXES];
    int64_t stride[MG_MAX_ARRAYS][MG_MAX_AXES]; /* in elements; 0 repeats the element */
    mg_scalar scalar[MG_MAX_SCALARS];
    /* Of a call that is a part of a larger one, so that it goes the same way; 0 if it is whole.  Of a product: the
     * rows and columns of the whole.  Of a draw: its elements, all told, and the block that the part starts at. */
    int64_t whole[2];
    int64_t work; /* how many multiply-adds, or elements read: decides on threads */
    int parts;    /* how many threads may share the work, and its scratch: mg_run sets both, once */
    int chain;    /* in a list: how many calls from here on run together, see mg_run_chain */
    void *scratch;
} mg_call;

static inline double mg_number(const mg_call *call, int i) {
    const mg_scalar *s = &call->scalar[i];
    switch (s->kind) {
    case MG_CELL_F64: return *(const double *)s->cell;
    case MG_CELL_I64: return (double)*(const int64_t *)s->cell;
    case MG_CELL_U64: return (double)*(const uint64_t *)s->cell;
    default: return s->number;
    }
}

/* Keys and counters use all 64 bits, which a double cannot hold: they come as cells. */
static inline uint64_t mg_bits(const mg_call *call, int i) {
    const mg_scalar *s = &call->scalar[i];
    return s->kind == MG_CELL_U64 ? *(const uint64_t *)s->cell : (uint64_t)mg_number(call, i);
}

/* The table: one row a kernel, the same order in C and in Python. */
enum {
#define KERNEL(name, ...) MG_##name,
#include "../minigrad/kernels/kernels.def"
#undef KERNEL
    MG_KERNELS
};

typedef int (*mg_kernel)(const mg_call *call);
typedef int64_t (*mg_scratch_bytes)(const mg_call *call);

typedef struct {
    mg_kernel run[MG_KERNELS];             /* NULL: no C kernel in this target */
    mg_scratch_bytes scratch[MG_KERNELS];  /* NULL: needs none */
    int64_t (*peak)(int64_t rounds);       /* makes multiply-adds in registers, gives their FLOP */
} mg_table;

void mg_fill_portable(mg_table *table);
void mg_fill_avx2(mg_table *table);
void mg_fill_avx512(mg_table *table);

/* dispatch.c */
int mg_targets(void); /* targets this processor and this build can run: portable is 1, avx2 2, avx512 3 */
int mg_use(int target);
int mg_has(int kernel);
int64_t mg_cost(const mg_call *call); /* in multiply-adds of a matrix product */
int mg_parts(const mg_call *call);    /* how many threads may share it */
int mg_run(mg_call *call);
/* The two halves of mg_run: what it works out, with the bytes of scratch to be supplied; then the kernel. */
const mg_table *mg_table_in_use(void);
int64_t mg_prepare(const mg_table *table, mg_call *call, int parts);
int mg_start(const mg_table *table, const mg_call *call);

/* memory.c: what large results are made in. */
void *mg_take(size_t bytes);
void mg_give(void *memory);
size_t mg_room(void *memory); /* the bytes of it */

/* replay.c: a recorded list of calls. */
typedef struct { /* an input of the list, and the data that it takes its rows from */
    const void *data;
    void *batch;
    int64_t row; /* bytes of a row; of a scaled one as many floats */
    int scaled;
    float scale;
} mg_feed;
typedef struct { /* a result to be noted after each replay, one behind the other */
    const void *from;
    void *to;
    int64_t bytes;
} mg_log;
typedef struct {
    mg_call *calls;
    int64_t count;
    int threads; /* for which the calls are prepared, with a table and scratch; 0 if they are not */
    int alone;   /* one thread of a team makes the calls, which have no work to share */
    const mg_table *table;
    void *scratch;
} mg_list;
typedef struct {
    int64_t rows; /* of a batch */
    const mg_feed *feed;
    const mg_log *log;
    int feeds, logs;
} mg_run_plan;
/* A list cut into one for each thread.  Thread t is through with its list up to end[t * phases + p] when all meet
 * for time p; at the end of a step they meet only if it is `closed`, for else nothing there is in anybody's way. */
typedef struct {
    int threads, phases, closed;
    mg_list *list;
    const int64_t *end;
    const int64_t *row; /* thread t fetches rows row[t] to row[t + 1] of a batch */
} mg_team_list;
typedef struct { /* where a replay has stopped: in the list of a thread, or in that of all (-1) */
    int thread;
    int64_t at;
} mg_place;
typedef struct { /* of a team and calls that share their work, all 0 at first */
    int64_t left, interval; /* replays until the next decision, and between two of them */
    int looking, by_team, best;
    double spent, by_team_spent;
} mg_choice;

int mg_settle(mg_list *list);
int mg_run_chain(const mg_table *table, const mg_call *calls);
int mg_replay(const mg_list *list, int64_t begin, int64_t end, int64_t *at);
int mg_replay_timed(const mg_list *list, int64_t begin, int64_t end, int64_t *at, double *seconds);
void mg_feed_rows(const mg_feed *feed, const int64_t *order, int64_t begin, int64_t end);
int mg_replay_steps(const mg_list *list, const mg_run_plan *plan, const int64_t *order, int64_t begin, int64_t end,
                    int64_t *done, int64_t *at);
int mg_replay_team(const mg_team_list *team, const mg_run_plan *plan, const int64_t *order, int64_t begin, int64_t end,
                   int64_t *done, mg_place *place);
int mg_replay_best(mg_choice *choice, const mg_list *list, const mg_team_list *team, const mg_run_plan *plan,
                   const int64_t *order, int64_t steps, int64_t *done, mg_place *place);

/* threads.c: fixed pieces of independent outputs; `part`, below call->parts, tells threads apart. */
typedef void (*mg_body)(const void *context, int64_t begin, int64_t end, int part);
int mg_num_threads(void);
void mg_set_num_threads(int threads);
int mg_share(int64_t work);               /* how many threads are worth it */
void mg_rouse(int threads, int64_t work); /* have their workers awake, if that is worth it */
void mg_parallel(int64_t units, int threads, mg_body body, const void *context);

/* A team: threads that run at the same time, and may wait for each other. */
typedef void (*mg_member)(void *context, int thread);
int mg_team(int threads, mg_member member, void *context); /* 0, and nothing done, if they could not be had now */
typedef struct {
    _Atomic unsigned missing, turn, stopping;
} mg_meeting;
void mg_convene(mg_meeting *meeting, int threads);
int mg_meet(mg_meeting *meeting, int threads, int stop); /* wait for all; whether one of them says to stop */

/* walk.c: the outer loops of elementwise calls, shared by all targets. */
enum { MG_PLANE_SCALARS = 2 };
typedef struct {
    void *p[MG_MAX_ARRAYS];
    int64_t rows, n; /* rows of n elements; strides in elements, within a row and from row to row */
    int64_t inner[MG_MAX_ARRAYS], outer[MG_MAX_ARRAYS];
    double scalar[MG_PLANE_SCALARS];
    int stream; /* the destination is larger than the caches and is not read */
} mg_plane;
typedef void (*mg_rows)(const mg_plane *plane);
int mg_elementwise(const mg_call *call, mg_rows rows);

#endif
