/* dispatch.c: which target runs, and the one place where a call is run. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "minigrad.h"

enum { PORTABLE = 1, AVX2 = 2, AVX512 = 3 };

static mg_table tables[AVX512 + 1];        /* one a target: a call that runs keeps its own while mg_use moves on */
static _Atomic(const mg_table *) active = &tables[0];

/* __builtin_cpu_supports asks the processor and, by XGETBV, the operating system. */
int mg_targets(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
#if defined(MINIGRAD_EMULATE_AVX512)
    return AVX512;
#endif
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return PORTABLE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")) return AVX2;
    if (!__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) return AVX2;
    return AVX512;
#else
    return PORTABLE;
#endif
}

/* Fallback first, then overwrite upward. */
int mg_use(int target) {
    if (target < PORTABLE || target > mg_targets()) return 0;
    mg_table *table = &tables[target];
    if (!table->run[MG_copy]) {
        mg_fill_portable(table);
#if defined(__x86_64__) && defined(__GNUC__)
        if (target >= AVX2) mg_fill_avx2(table);
        if (target >= AVX512) mg_fill_avx512(table);
#endif
    }
    atomic_store(&active, table);
    return 1;
}

int mg_has(int kernel) { return atomic_load(&active)->run[kernel] != NULL; }

/* Each thread keeps one scratch buffer, grown to the largest call it has made. */
typedef struct {
    int64_t bytes;
    void *memory;
} buffer;

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

static void buffer_free(void *p) {
    free(((buffer *)p)->memory);
    free(p);
}
static void buffer_setup(void) { pthread_key_create(&buffer_key, buffer_free); }

static void *scratch(int64_t bytes) {
    pthread_once(&buffer_once, buffer_setup);
    buffer *b = pthread_getspecific(buffer_key);
    if (!b) {
        b = calloc(1, sizeof *b);
        if (!b) return NULL;
        pthread_setspecific(buffer_key, b);
    }
    if (b->bytes < bytes) {
        free(b->memory);
        bytes = (bytes + 63) / 64 * 64;
        b->memory = aligned_alloc(64, (size_t)bytes);
        b->bytes = b->memory ? bytes : 0;
    }
    return b->memory;
}

/* What one unit of a call's work takes, in multiply-adds of a matrix product (18 ps on a Zen 4), so that one
 * threshold serves all.  A row of the table may say otherwise.  Where memory sets the pace, a second thread pays
 * later than the time would tell: 3 instead of 5 to 8. */
enum { COST_ELEMENTWISE = 3, COST_REDUCE = 12, COST_MATMUL = 1, COST_ROWS = 12, COST_FLAT = 4, COST_CELLS = 1, COST_UPDATE = 3,
       COST_TENSORS = 3, COST_IMAGES = 6 };

int64_t mg_cost(const mg_call *call) {
    static const int cost[MG_KERNELS] = {
#define KERNEL(name, family, outputs, inputs, scalars, dtypes, tolerance, ...) \
    (__VA_ARGS__ + 0) ? (__VA_ARGS__ + 0) : COST_##family,
#include "../minigrad/kernels/kernels.def"
#undef KERNEL
    };
    return call->work * cost[call->kernel];
}

int mg_parts(const mg_call *call) { return mg_share(mg_cost(call)); }

const mg_table *mg_table_in_use(void) { return atomic_load_explicit(&active, memory_order_acquire); }

int64_t mg_prepare(const mg_table *table, mg_call *call, int parts) {
    call->parts = parts;
    call->scratch = NULL;
    return table->scratch[call->kernel] ? table->scratch[call->kernel](call) : 0;
}

int mg_start(const mg_table *table, const mg_call *call) {
    if (!table->run[call->kernel]) return MG_NO_KERNEL;
    if (call->parts > 1) mg_rouse(call->parts, mg_cost(call));
    return table->run[call->kernel](call);
}

int mg_run(mg_call *call) {
    const mg_table *table = mg_table_in_use(); /* once: another thread may change it meanwhile */
    const int64_t bytes = mg_prepare(table, call, mg_parts(call));
    if (bytes > 0 && !(call->scratch = scratch(bytes))) return MG_NO_MEMORY;
    return mg_start(table, call);
}
