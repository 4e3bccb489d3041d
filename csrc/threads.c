/* threads.c: one small pool.
 *
 * mg_parallel cuts [0, units) into equal consecutive parts, runs part 0 on the
 * caller and the others on workers.  A worker spins for a few tens of
 * microseconds after its last job, then sleeps.  A caller that finds the pool
 * busy runs all its parts itself.  A forked child starts without workers and
 * makes its own when it needs them. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "minigrad.h"

enum {
    SPIN_NANOSECONDS = 40000,    /* how long a worker waits awake: longer than the gap between two calls of a step */
    WORK_PER_PART = 500000,      /* below about a million multiply-adds a second thread costs more than it gives */
};

static struct {
    pthread_mutex_t busy;        /* held by the caller whose job the workers run */
    pthread_mutex_t lock;        /* guards sleeping */
    pthread_cond_t wake;
    int sleeping;
    int workers;
    atomic_uint job;             /* counts jobs; a worker that sees it change has work */
    atomic_int pending;          /* parts not yet finished by workers */
    mg_body body;
    const void *context;
    int64_t units;
    int parts;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static atomic_int threads; /* 0: not asked yet */

static int available(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

int mg_num_threads(void) {
    if (atomic_load(&threads) == 0) mg_set_num_threads(available());
    return atomic_load(&threads);
}

void mg_set_num_threads(int n) { atomic_store(&threads, n < 1 ? 1 : n > MG_MAX_THREADS ? MG_MAX_THREADS : n); }

int mg_parts(int64_t work) {
    const int64_t parts = work / WORK_PER_PART;
    if (parts < 2) return 1;
    const int limit = mg_num_threads();
    return parts < limit ? (int)parts : limit;
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static int64_t nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void run_part(mg_body body, const void *context, int64_t units, int part, int parts) {
    body(context, units * part / parts, units * (part + 1) / parts, part);
}

static unsigned wait_for_job(unsigned seen) {
    const int64_t until = nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < 64; i++) {
            if (atomic_load_explicit(&pool.job, memory_order_acquire) != seen) return atomic_load(&pool.job);
            relax();
        }
    } while (nanoseconds() < until);
    pthread_mutex_lock(&pool.lock);
    pool.sleeping++;
    while (atomic_load(&pool.job) == seen) pthread_cond_wait(&pool.wake, &pool.lock);
    pool.sleeping--;
    pthread_mutex_unlock(&pool.lock);
    return atomic_load(&pool.job);
}

typedef struct {
    int index;
    unsigned seen;
} worker_start;

static void *worker(void *argument) {
    const worker_start start = *(worker_start *)argument;
    free(argument);
    unsigned seen = start.seen;
    for (;;) {
        seen = wait_for_job(seen);
        if (start.index < pool.parts)
            run_part(pool.body, pool.context, pool.units, start.index, pool.parts);
        atomic_fetch_sub_explicit(&pool.pending, 1, memory_order_release);
    }
    return NULL;
}

static void forget_workers(void) {
    pthread_mutex_init(&pool.busy, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pool.workers = pool.sleeping = 0;
    atomic_store(&pool.pending, 0);
}

/* With pool.busy held.  Fewer workers than wanted is no error: the job is cut into fewer parts. */
static void hire(int wanted) {
    static int registered;
    if (!registered) {
        pthread_atfork(NULL, NULL, forget_workers);
        registered = 1;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    while (pool.workers < wanted) {
        pthread_t thread;
        worker_start *start = malloc(sizeof *start);
        if (!start) break;
        *start = (worker_start){pool.workers + 1, atomic_load(&pool.job)};
        if (pthread_create(&thread, &attributes, worker, start) != 0) {
            free(start);
            break;
        }
        pool.workers++;
    }
    pthread_attr_destroy(&attributes);
}

void mg_parallel(int64_t units, int parts, mg_body body, const void *context) {
    if (parts > units) parts = (int)units;
    if (parts < 2 || pthread_mutex_trylock(&pool.busy) != 0) {
        if (parts < 1) parts = 1;
        for (int part = 0; part < parts; part++) run_part(body, context, units, part, parts);
        return;
    }
    if (pool.workers < parts - 1) hire(parts - 1);
    if (parts > pool.workers + 1) parts = pool.workers + 1;
    pool.body = body;
    pool.context = context;
    pool.units = units;
    pool.parts = parts;
    atomic_store(&pool.pending, pool.workers);
    pthread_mutex_lock(&pool.lock); /* so that no worker falls asleep between its last look and the change */
    atomic_fetch_add(&pool.job, 1);
    if (pool.sleeping) pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    run_part(body, context, units, 0, parts);
    for (int i = 0; atomic_load_explicit(&pool.pending, memory_order_acquire) > 0; i++) {
        relax();
        if (i % 256 == 255) sched_yield(); /* a worker may be waiting for this very core */
    }
    pthread_mutex_unlock(&pool.busy);
}
