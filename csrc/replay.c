/* replay.c: a recorded list of calls, run again and again without Python. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "minigrad.h"

/* Before replays: parts and scratch of all calls, worked out anew only when the number of threads has changed. */
int mg_settle(mg_list *list) {
    const int threads = mg_num_threads();
    if (list->threads == threads) return MG_OK;
    int64_t most = 0;
    list->table = mg_table_in_use();
    for (int64_t i = 0; i < list->count; i++) {
        const int64_t bytes = mg_prepare(list->table, &list->calls[i]);
        most = bytes > most ? bytes : most;
    }
    free(list->scratch);
    list->scratch = most ? aligned_alloc(64, (size_t)(most + 63) / 64 * 64) : NULL;
    list->threads = most && !list->scratch ? 0 : threads;
    for (int64_t i = 0; i < list->count; i++) list->calls[i].scratch = list->scratch;
    return list->threads ? MG_OK : MG_NO_MEMORY;
}

/* Calls [begin, end); stops at the first that fails, `at`. */
int mg_replay(const mg_list *list, int64_t begin, int64_t end, int64_t *at) {
    for (*at = begin; *at < end; ++*at) {
        const int status = mg_start(list->table, &list->calls[*at]);
        if (status != MG_OK) return status;
    }
    return MG_OK;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What each call took goes to `seconds`, less what the clock takes. */
int mg_replay_timed(const mg_list *list, int64_t begin, int64_t end, int64_t *at, double *seconds) {
    const double first = now(), reading = now() - first;
    double before = now();
    for (*at = begin; *at < end; ++*at) {
        const int status = mg_start(list->table, &list->calls[*at]);
        if (status != MG_OK) return status;
        const double after = now();
        seconds[*at] = after - before - reading;
        before = after;
    }
    return MG_OK;
}

static inline void pick_rows(const mg_feed *feed, const int64_t *order, int64_t rows, int64_t row) {
    const char *data = feed->data;
    char *to = feed->batch;
    for (int64_t i = 0; i < rows; i++, to += row) memcpy(to, data + order[i] * row, (size_t)row);
}

/* Row order[i] of the data becomes row i of the batch; bytes become floats, times a scale. */
void mg_feed_rows(const mg_feed *feed, const int64_t *order, int64_t rows) {
    if (feed->scaled) {
        float *to = feed->batch;
        for (int64_t i = 0; i < rows; i++, to += feed->row) {
            const uint8_t *from = (const uint8_t *)feed->data + order[i] * feed->row;
            for (int64_t j = 0; j < feed->row; j++) to[j] = (float)from[j] * feed->scale;
        }
    } else if (feed->row == 8) { /* labels, above all: a move instead of a call */
        pick_rows(feed, order, rows, 8);
    } else {
        pick_rows(feed, order, rows, feed->row);
    }
}

/* `steps` replays, each on the next `rows` rows of `order`; `done` counts those that are complete. */
int mg_replay_steps(const mg_list *list, const mg_run_plan *p, const int64_t *order, int64_t steps, int64_t *done, int64_t *at) {
    for (*done = 0; *done < steps; ++*done) {
        for (int i = 0; i < p->feeds; i++) mg_feed_rows(&p->feed[i], order + *done * p->rows, p->rows);
        const int status = mg_replay(list, 0, list->count, at);
        if (status != MG_OK) return status;
        for (int i = 0; i < p->logs; i++)
            memcpy((char *)p->log[i].to + *done * p->log[i].bytes, p->log[i].from, (size_t)p->log[i].bytes);
    }
    return MG_OK;
}
