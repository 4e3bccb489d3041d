/* threads.c: one small pool.
 *
 * mg_parallel cuts [0, units) into fixed pieces, a few for each thread.  Caller
 * and workers claim them one by one, so a worker that the system does not run
 * now delays nobody: it claims nothing.  Which thread runs a piece changes no
 * bit of it.  A worker looks out for the next job for a few tens of microseconds,
 * then sleeps, and is woken only for work that is worth the system calls.  A
 * caller that finds the pool busy, or asleep, runs the whole job itself.  A forked child
 * starts without workers and makes its own when it needs them.
 *
 * mg_team is for work whose parts wait for each other: it begins when all its
 * threads have come, and is called off if one stays away. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "minigrad.h"

enum {
    SPIN_NANOSECONDS = 40000,  /* how long a worker waits awake: longer than the gap between two calls of a step */
    PIECES = 4,                /* of each thread: what is lost to a thread that comes late, or is interrupted */
    /* In multiply-adds, see dispatch.c.  Measured on a Zen 4, where 500,000 take 9 microseconds: an awake worker
     * then gives 1.3 to 1.8 times the speed, and one to be woken takes 8 from its caller and comes after 15. */
    WORK_OF_THREAD = 250000,
    WORK_TO_WAKE = 3000000,
    TEAM_NANOSECONDS = 200000, /* how long a team waits for its last member: one that sleeps comes after 15 to 50 us */
    LOOKS = 256,               /* at what another thread does, before giving it this very core */
    MANY_LOOKS = 8192,         /* of one that is at work: whoever else gets this core keeps it for milliseconds */
};

/* A claim is three numbers in one word, so that they change together: of the job, of its pieces, of the next piece.
 * The other fields of a job are read by workers that may come too late for it; they count only if the claim still
 * stood when it was raised, and while a piece is left to claim nobody writes them. */
enum { JOB = 32, COUNT = 16 };

static struct {
    pthread_mutex_t busy;        /* held by the caller whose job this is */
    pthread_mutex_t lock;        /* for sleepers */
    pthread_cond_t wake;
    atomic_uint alarm;           /* raised to wake them */
    atomic_int sleeping;         /* workers that no alarm has called yet */
    atomic_int workers;
    _Atomic uint64_t claim;      /* job << JOB | pieces << COUNT | next piece */
    atomic_int unfinished;       /* pieces */
    _Atomic mg_body body;
    const void *_Atomic context;
    _Atomic int64_t units;
    atomic_int threads;
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

int mg_share(int64_t work) {
    const int64_t threads = work / WORK_OF_THREAD;
    if (threads < 2) return 1;
    const int limit = mg_num_threads();
    return threads < limit ? (int)threads : limit;
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Look number i at what another thread does has told nothing new. */
static void pause_at(unsigned i) {
    relax();
    if (i % LOOKS == 0) sched_yield(); /* that thread may be waiting for this very core */
}

static int64_t nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t current_job(void) {
    return (uint32_t)(atomic_load_explicit(&pool.claim, memory_order_acquire) >> JOB);
}

/* Claim pieces of the current job, and run them, until none is left. */
static void take_pieces(int thread) {
    uint64_t claim = atomic_load_explicit(&pool.claim, memory_order_acquire);
    for (;;) {
        const int piece = (uint16_t)claim, pieces = (uint16_t)(claim >> COUNT);
        const int64_t units = atomic_load_explicit(&pool.units, memory_order_relaxed);
        const mg_body body = atomic_load_explicit(&pool.body, memory_order_relaxed);
        const void *context = atomic_load_explicit(&pool.context, memory_order_relaxed);
        if (piece >= pieces || thread >= atomic_load_explicit(&pool.threads, memory_order_relaxed)) return;
        if (!atomic_compare_exchange_weak_explicit(&pool.claim, &claim, claim + 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        body(context, units * piece / pieces, units * (piece + 1) / pieces, thread);
        atomic_fetch_sub_explicit(&pool.unfinished, 1, memory_order_release);
        claim = atomic_load_explicit(&pool.claim, memory_order_acquire);
    }
}

/* Whether a job came before the time was up. */
static int wait_awake(uint32_t seen) {
    const int64_t until = nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < 64; i++) {
            if (current_job() != seen) return 1;
            relax();
        }
        sched_yield(); /* the caller may be waiting for this very core */
    } while (nanoseconds() < until);
    return 0;
}

static void wait_asleep(void) {
    pthread_mutex_lock(&pool.lock);
    const unsigned heard = atomic_load(&pool.alarm);
    atomic_fetch_add(&pool.sleeping, 1);
    while (atomic_load(&pool.alarm) == heard) pthread_cond_wait(&pool.wake, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

typedef struct {
    int index;
    uint32_t seen;
} worker_start;

static void *worker(void *argument) {
    const worker_start start = *(worker_start *)argument;
    free(argument);
    uint32_t seen = start.seen;
    for (;;) {
        while (!wait_awake(seen)) wait_asleep();
        seen = current_job();
        take_pieces(start.index);
    }
    return NULL;
}

static void forget_workers(void) {
    pthread_mutex_init(&pool.busy, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    atomic_store(&pool.workers, 0);
    atomic_store(&pool.sleeping, 0);
}

/* With pool.busy held.  Fewer workers than wanted is no error: callers take what they do not. */
static void hire(int wanted) {
    static int registered;
    if (!registered) {
        pthread_atfork(NULL, NULL, forget_workers);
        registered = 1;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    while (atomic_load(&pool.workers) < wanted) {
        pthread_t thread;
        worker_start *start = malloc(sizeof *start);
        if (!start) break;
        *start = (worker_start){atomic_load(&pool.workers) + 1, current_job()};
        if (pthread_create(&thread, &attributes, worker, start) != 0) {
            free(start);
            break;
        }
        atomic_fetch_add(&pool.workers, 1);
    }
    pthread_attr_destroy(&attributes);
}

static void wake(void) {
    if (atomic_load(&pool.sleeping) == 0) return;
    pthread_mutex_lock(&pool.lock);
    atomic_store(&pool.sleeping, 0);
    atomic_fetch_add(&pool.alarm, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
}

void mg_rouse(int threads, int64_t work) {
    if (threads < 2 || work < WORK_TO_WAKE) return;
    if (atomic_load(&pool.workers) < threads - 1 && pthread_mutex_trylock(&pool.busy) == 0) {
        hire(threads - 1);
        pthread_mutex_unlock(&pool.busy);
    }
    wake();
}

/* With pool.busy held and nothing left to claim. */
static void offer(int64_t units, int pieces, int threads, mg_body body, const void *context) {
    atomic_store_explicit(&pool.unfinished, pieces, memory_order_relaxed);
    atomic_store_explicit(&pool.body, body, memory_order_relaxed);
    atomic_store_explicit(&pool.context, context, memory_order_relaxed);
    atomic_store_explicit(&pool.units, units, memory_order_relaxed);
    atomic_store_explicit(&pool.threads, threads, memory_order_relaxed);
    const uint64_t job = current_job() + 1;
    atomic_store_explicit(&pool.claim, job << JOB | (uint64_t)pieces << COUNT, memory_order_release);
}

static void wait_for_pieces(int left) {
    for (unsigned i = 1; atomic_load_explicit(&pool.unfinished, memory_order_acquire) > left; i++) pause_at(i);
}

void mg_parallel(int64_t units, int threads, mg_body body, const void *context) {
    if (threads > units) threads = (int)units;
    const int asleep = atomic_load(&pool.sleeping) >= atomic_load(&pool.workers);
    if (threads < 2 || asleep || pthread_mutex_trylock(&pool.busy) != 0) {
        body(context, 0, units, 0);
        return;
    }
    offer(units, units < threads * PIECES ? (int)units : threads * PIECES, threads, body, context);
    take_pieces(0);
    wait_for_pieces(0);
    pthread_mutex_unlock(&pool.busy);
}

typedef struct {
    mg_member member;
    void *context;
    atomic_int here, decision; /* workers that have come; whether all may begin (1), or leave (-1) */
} team;

static void team_piece(const void *context, int64_t begin, int64_t end, int part) {
    (void)end, (void)part;
    team *t = *(team *const *)context;
    atomic_fetch_add_explicit(&t->here, 1, memory_order_relaxed);
    int decision;
    for (unsigned i = 1; (decision = atomic_load_explicit(&t->decision, memory_order_acquire)) == 0; i++) pause_at(i);
    if (decision > 0) t->member(t->context, (int)begin + 1);
}

/* Nobody can claim what is left of the current job; how many pieces were claimed. */
static int close_claims(int pieces) {
    uint64_t claim = atomic_load_explicit(&pool.claim, memory_order_acquire);
    while ((uint16_t)claim < pieces &&
           !atomic_compare_exchange_weak_explicit(&pool.claim, &claim, (claim & ~(uint64_t)UINT16_MAX) | (uint64_t)pieces,
                                                  memory_order_acq_rel, memory_order_acquire)) {}
    return (uint16_t)claim;
}

/* Each worker of a team has one piece of a job, so no worker can have two of them: it does not return before the
 * others have theirs, or the job is called off. */
int mg_team(int threads, mg_member member, void *context) {
    if (threads < 2 || pthread_mutex_trylock(&pool.busy) != 0) return 0;
    const int workers = threads - 1;
    hire(workers);
    int claimed = 0;
    if (atomic_load(&pool.workers) >= workers) {
        team own = {.member = member, .context = context}, *const pointer = &own;
        wake();
        offer(workers, workers, threads, team_piece, &pointer);
        const int64_t until = nanoseconds() + TEAM_NANOSECONDS;
        for (unsigned i = 1; atomic_load_explicit(&own.here, memory_order_relaxed) < workers; i++) {
            pause_at(i);
            if (i % LOOKS) continue;
            if (nanoseconds() > until) break;
            wake(); /* who was about to fall asleep */
        }
        claimed = close_claims(workers);
        atomic_store_explicit(&own.decision, claimed == workers ? 1 : -1, memory_order_release);
        if (claimed == workers) member(context, 0);
        wait_for_pieces(workers - claimed);
    }
    pthread_mutex_unlock(&pool.busy);
    return claimed == workers;
}

void mg_convene(mg_meeting *m, int threads) {
    atomic_store_explicit(&m->missing, (unsigned)threads, memory_order_relaxed);
    atomic_store_explicit(&m->turn, 0, memory_order_relaxed);
    atomic_store_explicit(&m->stopping, 0, memory_order_relaxed);
}

/* The last to come turns the page, and says on it whether to stop: so all hear the same. */
int mg_meet(mg_meeting *m, int threads, int stop) {
    unsigned turn = atomic_load_explicit(&m->turn, memory_order_relaxed), next;
    if (stop) atomic_store_explicit(&m->stopping, 1, memory_order_relaxed);
    if (atomic_fetch_sub_explicit(&m->missing, 1, memory_order_acq_rel) == 1) {
        atomic_store_explicit(&m->missing, (unsigned)threads, memory_order_relaxed);
        next = (turn + 2) | atomic_load_explicit(&m->stopping, memory_order_relaxed);
        atomic_store_explicit(&m->turn, next, memory_order_release);
    } else {
        for (unsigned i = 1; (next = atomic_load_explicit(&m->turn, memory_order_acquire)) == turn; i++) {
            relax();
            if (i >= MANY_LOOKS && i % LOOKS == 0) sched_yield();
        }
    }
    return next & 1;
}
