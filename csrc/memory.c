/* memory.c: large blocks that arrays of results give back are kept for the next ones.
 *
 * The C library returns memory of this size to the system, which then has to map and
 * clear every page of it anew: more work than most kernels do on it.  A training step
 * asks for the same sizes again and again.  Callers hold the interpreter lock. */
#include <stdlib.h>

#include "minigrad.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

enum {
    KEPT = 64,              /* blocks */
    HEADER = 64,            /* bytes before a block, where its size is noted; it stays on a cache line */
    PAGE = 4096,
    HUGE_PAGE = 2 << 20,
    KEPT_BYTES = 128 << 20, /* in all */
};

static struct {
    char *block[KEPT]; /* the oldest first */
    int count;
    size_t bytes;
} kept;

static size_t *size_of(char *block) { return (size_t *)(void *)block; }

static void forget(int i) {
    kept.bytes -= *size_of(kept.block[i]);
    for (kept.count--; i < kept.count; i++) kept.block[i] = kept.block[i + 1];
}

static void let_go(void) {
    char *oldest = kept.block[0];
    forget(0);
    free(oldest);
}

/* Whole pages of the large size where there is room for one. */
static char *new_block(size_t size) {
    void *block = NULL;
    const size_t alignment = size >= 2 * HUGE_PAGE ? HUGE_PAGE : HEADER;
    if (posix_memalign(&block, alignment, size) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    if (alignment == HUGE_PAGE) madvise(block, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return block;
}

void *mg_take(size_t bytes) {
    const size_t size = (bytes + HEADER + PAGE - 1) / PAGE * PAGE;
    for (int i = kept.count - 1; i >= 0; i--)
        if (*size_of(kept.block[i]) == size) {
            char *block = kept.block[i];
            forget(i);
            return block + HEADER;
        }
    char *block = size > bytes ? new_block(size) : NULL;
    while (!block && kept.count) { /* what is kept may be what is missing */
        let_go();
        block = size > bytes ? new_block(size) : NULL;
    }
    if (!block) return NULL;
    *size_of(block) = size;
    return block + HEADER;
}

void mg_give(void *memory) {
    char *block = (char *)memory - HEADER;
    const size_t size = *size_of(block);
    while (kept.count && (kept.count == KEPT || kept.bytes + size > KEPT_BYTES)) let_go();
    if (size > KEPT_BYTES) {
        free(block);
        return;
    }
    kept.block[kept.count++] = block;
    kept.bytes += size;
}

size_t mg_room(void *memory) { return *size_of((char *)memory - HEADER) - HEADER; }
