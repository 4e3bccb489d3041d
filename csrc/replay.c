/* replay.c: a recorded list of calls, run again and again without Python. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "minigrad.h"

typedef struct {
    const mg_table *table;
    const mg_call *calls;
} chain;

static int64_t chain_work(const mg_call *calls) {
    int64_t work = 0;
    for (int i = 0; i < calls->chain; i++) work += mg_cost(&calls[i]);
    return work;
}

/* Whether a call of the block after call i reads what that writes. */
static int read_later(const mg_call *block, int i, int count) {
    for (int j = i + 1; j < count; j++)
        for (int a = 1; a < block[j].arrays; a++)
            if (block[j].array[a] == block[i].array[0]) return 1;
    return 0;
}

static void move_on(mg_call *call, const int64_t (*stride)[MG_MAX_AXES], int axis, int64_t steps) {
    for (int a = 0; a < call->arrays; a++)
        call->array[a] = (char *)call->array[a] + steps * stride[a][axis] * call->itemsize[a];
}

/* Pieces [begin, end) of a chain, each on memory of its own: all calls on a block, then all on the next. */
static void run_pieces(const void *context, int64_t begin, int64_t end, int part) {
    (void)part;
    const chain *c = context;
    const int count = c->calls->chain;
    mg_call block[MG_MAX_CHAIN];
    for (int64_t piece = begin; piece < end; piece++) {
        for (int i = 0; i < count; i++) {
            block[i] = c->calls[i];
            block[i].size[1] = block[i].size[2] = block[i].parts = 1;
            move_on(&block[i], c->calls[i].stride, 1, piece);
        }
        for (int i = 0; i < count; i++) /* what is read soon must not be stored past the caches */
            if (read_later(block, i, count)) block[i].work = block[i].size[3];
        for (int64_t row = 0; row < c->calls->size[2]; row++)
            for (int i = 0; i < count; i++) {
                c->table->run[block[i].kernel](&block[i]);
                move_on(&block[i], c->calls[i].stride, 2, 1);
            }
    }
}

/* Elementwise calls over (pieces, blocks, elements) each, so that what one writes the next reads warm.  A
 * temporary of the chain has stride 0 along its blocks, and a block of memory in each piece.  Calls: pieces on
 * axis 1, blocks on axis 2. */
int mg_run_chain(const mg_table *table, const mg_call *calls) {
    const chain c = {table, calls};
    if (calls->parts > 1) mg_rouse(calls->parts, chain_work(calls));
    mg_parallel(calls->size[1], calls->parts, run_pieces, &c);
    return MG_OK;
}

/* Before replays: parts and scratch of all calls, worked out anew only when the number of threads has changed. */
int mg_settle(mg_list *list) {
    const int threads = mg_num_threads();
    if (list->threads == threads) return MG_OK;
    int64_t most = 0;
    list->table = mg_table_in_use();
    for (int64_t i = 0; i < list->count; i++) {
        mg_call *call = &list->calls[i];
        const int64_t bytes = mg_prepare(list->table, call, list->alone ? 1 : mg_parts(call));
        most = bytes > most ? bytes : most;
    }
    free(list->scratch);
    list->scratch = most ? aligned_alloc(64, (size_t)(most + 63) / 64 * 64) : NULL;
    list->threads = most && !list->scratch ? 0 : threads;
    for (int64_t i = 0; i < list->count; i++) {
        list->calls[i].scratch = list->scratch;
        if (list->calls[i].chain) list->calls[i].parts = mg_share(chain_work(&list->calls[i]));
    }
    return list->threads ? MG_OK : MG_NO_MEMORY;
}

/* One call, or a whole chain. */
static inline int start(const mg_table *table, const mg_call *call) {
    return call->chain ? mg_run_chain(table, call) : mg_start(table, call);
}

static inline int64_t behind(const mg_list *list, int64_t at) {
    return at + (list->calls[at].chain ? list->calls[at].chain : 1);
}

/* Calls [begin, end), which part no chain; stops at the first that fails, `at`. */
int mg_replay(const mg_list *list, int64_t begin, int64_t end, int64_t *at) {
    for (*at = begin; *at < end; *at = behind(list, *at)) {
        const int status = start(list->table, &list->calls[*at]);
        if (status != MG_OK) return status;
    }
    return MG_OK;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What each call took goes to `seconds`, less what the clock takes; what a chain took to its first call. */
int mg_replay_timed(const mg_list *list, int64_t begin, int64_t end, int64_t *at, double *seconds) {
    const double first = now(), reading = now() - first;
    double before = now();
    for (*at = begin; *at < end; *at = behind(list, *at)) {
        const int status = start(list->table, &list->calls[*at]);
        if (status != MG_OK) return status;
        const double after = now();
        seconds[*at] = after - before - reading;
        before = after;
    }
    return MG_OK;
}

static inline void pick_rows(const mg_feed *feed, const int64_t *order, int64_t begin, int64_t end, int64_t row) {
    const char *data = feed->data;
    char *to = (char *)feed->batch + begin * row;
    for (int64_t i = begin; i < end; i++, to += row) memcpy(to, data + order[i] * row, (size_t)row);
}

/* Row order[i] of the data becomes row i of the batch, from `begin` on; bytes become floats, times a scale. */
void mg_feed_rows(const mg_feed *feed, const int64_t *order, int64_t begin, int64_t end) {
    if (feed->scaled) {
        float *to = (float *)feed->batch + begin * feed->row;
        for (int64_t i = begin; i < end; i++, to += feed->row) {
            const uint8_t *from = (const uint8_t *)feed->data + order[i] * feed->row;
            for (int64_t j = 0; j < feed->row; j++) to[j] = (float)from[j] * feed->scale;
        }
    } else if (feed->row == 8) { /* labels, above all: a move instead of a call */
        pick_rows(feed, order, begin, end, 8);
    } else {
        pick_rows(feed, order, begin, end, feed->row);
    }
}

static void note_results(const mg_run_plan *p, int64_t step) {
    for (int i = 0; i < p->logs; i++)
        memcpy((char *)p->log[i].to + step * p->log[i].bytes, p->log[i].from, (size_t)p->log[i].bytes);
}

/* Replays [begin, end), each on the next `rows` rows of `order`; `done` counts those that are complete. */
int mg_replay_steps(const mg_list *list, const mg_run_plan *p, const int64_t *order, int64_t begin, int64_t end,
                    int64_t *done, int64_t *at) {
    for (*done = begin; *done < end; ++*done) {
        for (int i = 0; i < p->feeds; i++) mg_feed_rows(&p->feed[i], order + *done * p->rows, 0, p->rows);
        const int status = mg_replay(list, 0, list->count, at);
        if (status != MG_OK) return status;
        note_results(p, *done);
    }
    return MG_OK;
}

typedef struct {
    const mg_team_list *team;
    const mg_run_plan *plan;
    const int64_t *order;
    int64_t begin, end, done;
    mg_meeting meeting;
    int status[MG_MAX_THREADS]; /* of each thread, and the call at which it is */
    int64_t at[MG_MAX_THREADS];
} teamwork;

/* What one thread does.  A thread whose call has failed goes on to the next meeting, where all learn of it. */
static void team_steps(void *context, int thread) {
    teamwork *w = context;
    const mg_team_list *team = w->team;
    const mg_run_plan *p = w->plan;
    const int64_t *end = team->end + thread * team->phases;
    int status = MG_OK;
    int64_t at = 0;
    for (int64_t step = w->begin; step < w->end; step++) {
        for (int i = 0; i < p->feeds; i++)
            mg_feed_rows(&p->feed[i], w->order + step * p->rows, team->row[thread], team->row[thread + 1]);
        for (int phase = 0; phase < team->phases; phase++) {
            status = mg_replay(&team->list[thread], phase ? end[phase - 1] : 0, end[phase], &at);
            w->status[thread] = status, w->at[thread] = at;
            if (phase + 1 == team->phases && thread == 0) note_results(p, step);
            if (phase + 1 == team->phases && !team->closed) break;
            if (mg_meet(&w->meeting, team->threads, status != MG_OK)) return;
        }
        if (status != MG_OK) {
            if (step + 1 < w->end) mg_meet(&w->meeting, team->threads, 1);
            return;
        }
        if (thread == 0) w->done = step + 1;
    }
}

/* The same by a team: -1 if it could not be had, and nothing has been done.  `place` is where the first of the threads
 * that failed stands. */
int mg_replay_team(const mg_team_list *team, const mg_run_plan *plan, const int64_t *order, int64_t begin, int64_t end,
                   int64_t *done, mg_place *place) {
    teamwork w = {.team = team, .plan = plan, .order = order, .begin = begin, .end = end, .done = begin};
    mg_convene(&w.meeting, team->threads);
    if (!mg_team(team->threads, team_steps, &w)) return -1;
    *done = w.done;
    for (int t = 0; t < team->threads; t++)
        if (w.status[t] != MG_OK) {
            *place = (mg_place){t, w.at[t]};
            return w.status[t];
        }
    return MG_OK;
}

enum { LOOK = 8, SHORT = 64, LONG = 1024 }; /* replays to see the pace, and after which to look again */

/* A team is fastest where each thread has a core of its own.  Where one has to wait for a core all wait for it, while
 * calls that share their work go on without it; and who else is there changes.  So both are timed now and then. */
static void decide(mg_choice *c) {
    if (c->looking == 0) {
        c->looking = 1, c->by_team = 1, c->left = LOOK;
    } else if (c->looking == 1) {
        c->looking = 2, c->by_team = 0, c->left = LOOK, c->by_team_spent = c->spent;
    } else {
        const int best = c->by_team_spent < c->spent;
        c->interval = c->interval == 0 || best != c->best ? SHORT : c->interval < LONG ? 2 * c->interval : LONG;
        c->looking = 0, c->by_team = c->best = best, c->left = c->interval;
    }
    c->spent = 0;
}

/* `steps` replays by the team, or by the list of all, whichever was faster of late. */
int mg_replay_best(mg_choice *c, const mg_list *list, const mg_team_list *team, const mg_run_plan *plan,
                   const int64_t *order, int64_t steps, int64_t *done, mg_place *place) {
    for (*done = 0; *done < steps;) {
        if (c->left == 0) decide(c);
        const int64_t begin = *done, end = c->left < steps - begin ? begin + c->left : steps;
        const double start = now();
        int status = c->by_team ? mg_replay_team(team, plan, order, begin, end, done, place) : -1;
        if (status < 0) {
            place->thread = -1;
            status = mg_replay_steps(list, plan, order, begin, end, done, &place->at);
        }
        if (status != MG_OK) return status;
        c->spent += now() - start;
        c->left -= end - begin;
    }
    return MG_OK;
}
