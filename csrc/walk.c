/* walk.c: the outer loops of elementwise calls. */
#include "minigrad.h"

enum { CHUNK = 4096 };              /* elements of a row that go to one thread: 16 kB an array stay in its cache */
enum { STREAM_BYTES = 16 << 20 };   /* destinations that leave no room for anything else in the last cache */

typedef struct {
    const mg_call *call;
    mg_rows rows;
    int64_t chunk, chunks; /* elements of a chunk, chunks of a row */
    mg_plane plane;
} walk;

static void walk_units(const void *context, int64_t begin, int64_t end, int part) {
    (void)part;
    const walk *w = context;
    const mg_call *call = w->call;
    mg_plane plane = w->plane;
    for (int64_t unit = begin; unit < end; unit += plane.rows) {
        const int64_t row = unit / w->chunks, start = unit % w->chunks * w->chunk;
        const int64_t i2 = row % call->size[2], i1 = row / call->size[2] % call->size[1];
        const int64_t i0 = row / call->size[2] / call->size[1];
        const int64_t left = call->size[3] - start, below = call->size[2] - i2;
        plane.n = left < w->chunk ? left : w->chunk;
        plane.rows = w->chunks > 1 ? 1 : below < end - unit ? below : end - unit;
        for (int a = 0; a < call->arrays; a++) {
            const int64_t *s = call->stride[a];
            plane.p[a] = (char *)call->array[a] + (i0 * s[0] + i1 * s[1] + i2 * s[2] + start * s[3]) * call->itemsize[a];
        }
        w->rows(&plane);
    }
}

int mg_elementwise(const mg_call *call, mg_rows rows) {
    const int64_t n = call->size[3], chunk = call->parts > 1 && n > CHUNK ? CHUNK : n;
    walk w = {.call = call, .rows = rows, .chunk = chunk, .chunks = n ? (n + chunk - 1) / chunk : 0};
    w.plane.stream = call->work * call->itemsize[0] >= STREAM_BYTES;
    for (int i = 0; i < MG_PLANE_SCALARS; i++) w.plane.scalar[i] = mg_number(call, i);
    for (int a = 0; a < call->arrays; a++) {
        w.plane.inner[a] = call->stride[a][3];
        w.plane.outer[a] = call->stride[a][2];
        if (a && call->array[a] == call->array[0]) w.plane.stream = 0;
    }
    const int64_t lines = call->size[0] * call->size[1] * call->size[2];
    if (lines == 1 && w.chunks == 1) { /* most calls: one run of memory */
        for (int a = 0; a < call->arrays; a++) w.plane.p[a] = call->array[a];
        w.plane.n = n;
        w.plane.rows = 1;
        rows(&w.plane);
    } else {
        mg_parallel(lines * w.chunks, call->parts, walk_units, &w);
    }
    return MG_OK;
}
