/* walk.c: the outer loops of elementwise calls. */
#include "minigrad.h"

enum { CHUNK = 4096 }; /* elements of one unit of work: 16 kB an array stays in the first-level cache */

typedef struct {
    const mg_call *call;
    mg_row row;
    int64_t chunks; /* of one row */
    double scalar[MG_MAX_SCALARS];
    int64_t inner[MG_MAX_ARRAYS];
} walk;

static void walk_units(const void *context, int64_t begin, int64_t end, int part) {
    (void)part;
    const walk *w = context;
    const mg_call *call = w->call;
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t row = unit / w->chunks, start = (unit % w->chunks) * CHUNK;
        const int64_t i2 = row % call->size[2], i1 = row / call->size[2] % call->size[1];
        const int64_t i0 = row / call->size[2] / call->size[1];
        const int64_t left = call->size[3] - start;
        void *p[MG_MAX_ARRAYS];
        for (int a = 0; a < call->arrays; a++) {
            const int64_t *s = call->stride[a];
            p[a] = (char *)call->array[a] + (i0 * s[0] + i1 * s[1] + i2 * s[2] + start * s[3]) * call->itemsize[a];
        }
        w->row(p, w->inner, left < CHUNK ? left : CHUNK, w->scalar);
    }
}

int mg_elementwise(const mg_call *call, mg_row row) {
    walk w = {.call = call, .row = row, .chunks = (call->size[3] + CHUNK - 1) / CHUNK};
    for (int i = 0; i < MG_MAX_SCALARS; i++) w.scalar[i] = mg_number(call, i);
    for (int a = 0; a < call->arrays; a++) w.inner[a] = call->stride[a][3];
    const int64_t units = call->size[0] * call->size[1] * call->size[2] * w.chunks;
    mg_parallel(units, call->parts, walk_units, &w);
    return MG_OK;
}
