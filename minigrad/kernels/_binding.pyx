# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, nonecheck=True, initializedcheck=False
"""The C kernels as Python sees them: a call record filled from NumPy arrays, and the knobs of dispatch.

Arrays arrive as objects and are read through their raw pointers; a typed
memoryview argument would cost more than most calls.  Everything is checked
here, before C sees it: a call that is built can run.
"""

cimport cython
cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, llabs, malloc
from libc.string cimport memcpy, memset, strcpy

from functools import update_wrapper
from time import perf_counter

import numpy as np

from . import reference
from .table import KERNELS

cnp.import_array()

cdef extern from "minigrad.h" nogil:
    enum: MG_MAX_ARRAYS
    enum: MG_MAX_AXES
    enum: MG_MAX_SCALARS
    enum: MG_OK
    enum: MG_BAD_LABEL
    enum: MG_NO_MEMORY
    ctypedef enum mg_kind:
        MG_IMMEDIATE
        MG_CELL_F64
        MG_CELL_I64
        MG_CELL_U64
    ctypedef struct mg_scalar:
        mg_kind kind
        double number
        void *cell
    ctypedef struct mg_call:
        int kernel
        int arrays
        void *array[4]
        int64_t itemsize[4]
        int64_t size[4]
        int64_t stride[4][4]
        mg_scalar scalar[12]
        int64_t whole[2]
        int64_t work
        int chain
        void *scratch
    int mg_targets()
    int mg_use(int target)
    int mg_has(int kernel)
    int mg_run(mg_call *call)
    int64_t mg_cost(const mg_call *call)
    int mg_parts(const mg_call *call)
    ctypedef struct mg_table:
        int64_t (*peak)(int64_t rounds)
    const mg_table *mg_table_in_use()
    ctypedef struct mg_feed:
        const void *data
        void *batch
        int64_t row
        int scaled
        float scale
    ctypedef struct mg_log:
        const void *from_ "from"
        void *to
        int64_t bytes
    ctypedef struct mg_list:
        mg_call *calls
        int64_t count
        int threads
        int alone
        void *scratch
    ctypedef struct mg_team_list:
        int threads, phases, closed
        mg_list *list
        const int64_t *end
        const int64_t *row
    ctypedef struct mg_place:
        int thread
        int64_t at
    ctypedef struct mg_choice:
        pass
    ctypedef struct mg_run_plan:
        int64_t rows
        const mg_feed *feed
        const mg_log *log
        int feeds, logs
    int mg_settle(mg_list *list)
    int mg_replay(const mg_list *list, int64_t begin, int64_t end, int64_t *at)
    int mg_replay_timed(const mg_list *list, int64_t begin, int64_t end, int64_t *at, double *seconds)
    void mg_feed_rows(const mg_feed *feed, const int64_t *order, int64_t begin, int64_t end)
    int mg_replay_steps(const mg_list *list, const mg_run_plan *plan, const int64_t *order, int64_t begin,
                        int64_t end, int64_t *done, int64_t *at)
    int mg_replay_best(mg_choice *choice, const mg_list *list, const mg_team_list *team, const mg_run_plan *plan,
                       const int64_t *order, int64_t steps, int64_t *done, mg_place *place)
    int mg_num_threads()
    void mg_set_num_threads(int n)

    void *mg_take(size_t bytes)
    void mg_give(void *memory)
    size_t mg_room(void *memory)

cdef extern from "numpy/ndarraytypes.h":
    ctypedef struct PyDataMemAllocator:
        void *ctx
        void *(*malloc)(void *, size_t) noexcept
        void *(*calloc)(void *, size_t, size_t) noexcept
        void *(*realloc)(void *, void *, size_t) noexcept
        void (*free)(void *, void *, size_t) noexcept
    ctypedef struct PyDataMem_Handler:
        char name[127]
        unsigned char version
        PyDataMemAllocator allocator

cdef extern from "numpy/arrayobject.h":
    object PyDataMem_SetHandler(object handler)
    object PyArray_NewFromDescr(type kind, cnp.dtype descriptor, int ndim, cnp.npy_intp *shape, cnp.npy_intp *strides,
                                void *data, int flags, PyObject *like)

cdef extern from "Python.h":
    PyObject *item_of "PyList_GET_ITEM"(list items, Py_ssize_t i)
    PyObject *part_of "PyTuple_GET_ITEM"(tuple parts, Py_ssize_t i)
    object PyObject_Vectorcall(object function, PyObject **arguments, size_t count, PyObject *names)

ctypedef cnp.ndarray Array

cdef enum:
    MAX_DIMS = 64
    LARGE = 1 << 14  # elements of a result whose memory is kept for another
    FEW = 4096  # elements: fewer than a second thread would be called for

cdef int MATMUL_K = 7
cdef bint use_reference = False

cdef enum:
    ELEMENTWISE, REDUCE, MATMUL, ROWS, FLAT, CELLS, IMAGES, UPDATE, TENSORS  # of the last two the arrays stand in a table

cdef dict FAMILIES = {"ELEMENTWISE": ELEMENTWISE, "REDUCE": REDUCE, "MATMUL": MATMUL,
                      "ROWS": ROWS, "FLAT": FLAT, "CELLS": CELLS, "IMAGES": IMAGES, "UPDATE": UPDATE, "TENSORS": TENSORS}
cdef tuple NAMES = tuple(FAMILIES)
# Which arrays of a row kernel are (rows, columns); the others are (rows,).
# The axes of every array of an image kernel: a letter is a length, the same wherever it stands, and m is n or 0.
cdef dict SHAPES = {
    "crop": b"nchw ncHW n4",
    "displacement": b"n2hw n2hw n29",
    "warp": b"nchw ncHW n29 m2hw",
    "recolor": b"nchw ndhw nce",
    "hue": b"n3hw n3hw n",
    "recode": b"nchw nchw ncT",
    "noise": b"nchw nchw n2 n",
    "filter": b"nchw nchw nab nde",
    "jpeg": b"nchw nchw n",
}
cdef dict IMAGE_LENGTHS = {  # what the letters may be besides
    "recolor": lambda c, d, e, T: 0 < c <= 4 and 0 < d <= 4 and e == d + 1,
    "recode": lambda c, d, e, T: T == 256,
    "jpeg": lambda c, d, e, T: c == 1 or c == 3,
}
cdef bytes BEHIND = b"HWabde"  # lengths that stand behind the scalars, from this one on
cdef int FIRST_BEHIND = 6
cdef dict MATRICES = {"logsumexp": (1,), "cross_entropy": (1,), "cross_entropy_grad": (0, 2)}


def targets():
    """How many C targets can run here: 1 portable, 2 also avx2, 3 also avx512."""
    return mg_targets()


def use(int target):
    """Choose a C target by number, or 0 for the reference."""
    global use_reference
    if target != 0 and not mg_use(target):
        raise ValueError(f"target {target} cannot run here")
    use_reference = target == 0


def multiply_adds(int64_t rounds):
    """Make multiply-adds in the registers of one core; how many floating-point operations they were."""
    return mg_table_in_use().peak(rounds)


def num_threads():
    return mg_num_threads()


def set_num_threads(int n):
    mg_set_num_threads(n)


# Memory for large results, by NumPy's protocol (NEP 49): see csrc/memory.c.

cdef void *take(void *context, size_t bytes) noexcept:
    return mg_take(bytes)


cdef void *take_cleared(void *context, size_t count, size_t bytes) noexcept:
    cdef void *memory = mg_take(count * bytes)
    return memset(memory, 0, count * bytes) if memory != NULL else NULL


cdef void *take_another(void *context, void *memory, size_t bytes) noexcept:
    cdef void *other = mg_take(bytes)
    if other != NULL and memory != NULL:
        memcpy(other, memory, min(bytes, mg_room(memory)))
        mg_give(memory)
    return other


cdef void give(void *context, void *memory, size_t bytes) noexcept:
    if memory != NULL:
        mg_give(memory)


cdef PyDataMem_Handler pool
strcpy(pool.name, b"minigrad")
pool.version = 1
pool.allocator.malloc, pool.allocator.calloc = take, take_cleared
pool.allocator.realloc, pool.allocator.free = take_another, give
cdef object handler = PyCapsule_New(&pool, "mem_handler", NULL)


cdef Array fresh(int ndim, cnp.npy_intp *shape, int dtype, bint column_major):
    """Memory for a result; a large one takes what another has given back."""
    cdef int64_t size = 1
    cdef int axis
    cdef cnp.dtype descriptor
    for axis in range(ndim):
        size *= shape[axis]
    if size < LARGE:
        descriptor = cnp.PyArray_DescrFromType(dtype)
        Py_INCREF(descriptor)  # which goes to the array
        return PyArray_NewFromDescr(cnp.ndarray, descriptor, ndim, shape, NULL, NULL,
                                    cnp.NPY_ARRAY_F_CONTIGUOUS if column_major else 0, NULL)
    before = PyDataMem_SetHandler(handler)
    try:
        return cnp.PyArray_EMPTY(ndim, shape, dtype, column_major)
    finally:
        PyDataMem_SetHandler(before)


@cython.final
cdef class Row:
    """A row of the table as the binding needs it: plain C fields."""

    cdef readonly str name
    cdef int index, family, outputs, arrays, scalars
    cdef bint uniform       # an elementwise kernel of float32 arrays alone, without scalars
    cdef unsigned matrices  # a bit for each array of a row kernel that is (rows, columns)
    cdef unsigned along     # and for each that is (columns,)
    cdef int table          # which array of cells has more than one number, or -1
    cdef bytes letters
    cdef bytes shapes       # of an image kernel

    def __init__(self, kernel):
        self.name = kernel.name
        self.index = kernel.index
        self.family = FAMILIES[kernel.family]
        self.outputs = len(kernel.outputs)
        self.arrays = len(kernel.arrays)
        self.scalars = len(kernel.scalars)
        self.letters = kernel.dtypes.encode()
        self.shapes = SHAPES.get(kernel.name)
        self.uniform = self.family == ELEMENTWISE and self.letters == b"f" * self.arrays and self.scalars == 0
        self.table = kernel.arrays.index("table") if "table" in kernel.arrays else -1
        self.along = sum(1 << i for i, name in enumerate(kernel.arrays) if name in ("weight", "bias"))
        self.matrices = sum(1 << i for i in MATRICES.get(kernel.name, range(self.arrays))) & ~self.along


cdef dict known = {name: Row(kernel) for name, kernel in KERNELS.items()}
cdef Row matmul_row = known["matmul"], linear_row = known["linear"], sum_row = known["sum"]
cdef Row losses_row = known["cross_entropy"], losses_grad_row = known["cross_entropy_grad"], mean_row = known["mean"]


def rows_of_the_table():
    return known


cdef struct span:
    char *start
    char *stop


cdef inline span span_of(Array a) noexcept:
    """The bytes in which an array lies."""
    cdef span found
    cdef int axis
    cdef int64_t step
    found.start = found.stop = <char *>cnp.PyArray_DATA(a)
    for axis in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIM(a, axis) == 0:
            found.stop = found.start
            return found
        step = (cnp.PyArray_DIM(a, axis) - 1) * cnp.PyArray_STRIDE(a, axis)
        if step < 0:
            found.start += step
        else:
            found.stop += step
    found.stop += cnp.PyArray_ITEMSIZE(a)
    return found


cdef inline bint overlap(Array a, Array b) noexcept:
    """Whether the stretches of memory in which two arrays lie have a byte in common."""
    cdef span x = span_of(a), y = span_of(b)
    return x.start < y.stop and y.start < x.stop and x.start < x.stop and y.start < y.stop


cdef inline bint fits(Array a, char letter) noexcept:
    cdef int number = cnp.PyArray_TYPE(a)
    if letter == b"f":
        return number == cnp.NPY_FLOAT32
    if letter == b"d":
        return number == cnp.NPY_FLOAT64
    if letter == b"b":
        return number == cnp.NPY_BOOL or number == cnp.NPY_UINT8
    if letter == b"i":
        return number == cnp.NPY_INT64
    if letter == b"p":
        return number == cnp.NPY_UINT8 or number == cnp.NPY_FLOAT32
    return number == cnp.NPY_UINT32


cdef inline bint a_block(Array a) noexcept:
    """Whether an array is a temporary of a chain: its blocks share their memory."""
    return cnp.PyArray_NDIM(a) == 3 and cnp.PyArray_STRIDE(a, 1) == 0 and cnp.PyArray_DIM(a, 1) > 1


@cython.final
cdef class Call:
    """One kernel call: launched, observed, recorded and printed as the same object.

    ``native`` tells whether C runs it; ``ready`` is False when an array lies in
    memory in a way that C does not take, so that ``launch`` must copy it first.
    """

    cdef mg_call c
    cdef Row row
    cdef readonly tuple arrays
    cdef readonly tuple scalars
    cdef readonly bint native
    cdef readonly bint ready
    cdef object tables  # keeps the pointers and sizes of an update alive
    cdef float constant[4]  # scalar operands of a quick call

    def __init__(self, Row row not None, tuple arrays not None, tuple scalars not None=(), tuple whole not None=(0, 0)):
        self.fill(row, arrays, scalars)
        self.c.whole[0], self.c.whole[1] = whole

    cdef fill(self, Row row, tuple arrays, tuple scalars):
        self.row, self.arrays, self.scalars = row, arrays, scalars
        memset(&self.c, 0, sizeof(mg_call))
        self.check()
        self.c.kernel = row.index
        self.fill_scalars()
        cdef int family = row.family
        if family == ELEMENTWISE:
            self.ready = self.fill_elementwise()
        elif family == REDUCE:
            self.ready = self.fill_reduce()
        elif family == MATMUL:
            self.ready = self.fill_matmul()
        elif family == ROWS:
            self.ready = self.fill_rows()
        elif family == FLAT:
            self.ready = self.fill_flat()
        elif family == CELLS:
            self.ready = self.fill_cells()
        elif family == IMAGES:
            self.ready = self.fill_images()
        elif family == UPDATE:
            self.ready = self.fill_update()
        else:
            self.ready = self.fill_tensors()
        if family != ELEMENTWISE and family != UPDATE and family != TENSORS and self.ready:
            self.ready = self.apart()
        if not self.ready and row.name == "copy":  # the copy that would make it ready
            self.native = False
        self.ready |= not self.native  # NumPy takes any layout; the shapes are checked all the same

    @property
    def kernel(self):
        """The kernel's name."""
        return self.row.name

    @property
    def work(self):
        """How many multiply-adds, or elements read."""
        return self.c.work

    @property
    def cost(self):
        """The work in multiply-adds of a matrix product that take as long."""
        return mg_cost(&self.c)

    @property
    def threads(self):
        """How many threads may share it."""
        return mg_parts(&self.c)

    def __repr__(self):
        return f"{KERNELS[self.row.name].line(self.arrays, self.scalars)}{'' if self.native else '  # reference'}"

    cdef check(self):
        """Numbers of arguments, ndarrays, writable destinations; then C or the reference, by dtype."""
        cdef Row row = self.row
        cdef Py_ssize_t i, n = len(self.arrays)
        cdef Array a
        if n < row.arrays or (n % row.arrays if row.family == UPDATE else row.family != TENSORS and n != row.arrays):
            raise TypeError(f"{row.name} takes {row.arrays} arrays, got {n}")
        if len(self.scalars) != row.scalars:
            raise TypeError(f"{row.name} takes {row.scalars} scalars, got {len(self.scalars)}")
        cdef bint typed = len(row.letters) > 0, matching = typed
        cdef int slot = 0, floats = 0, single = 0
        for i in range(n):
            if not isinstance(self.arrays[i], cnp.ndarray):
                raise TypeError(f"{row.name} takes ndarrays, got {type(self.arrays[i]).__name__}")
            a = <Array>self.arrays[i]
            if slot < row.outputs and not cnp.PyArray_ISWRITEABLE(a):
                raise ValueError(f"{row.name} cannot write into a read-only array")
            if typed:
                if row.letters[slot] == b"f":
                    floats += 1
                    single += cnp.PyArray_TYPE(a) == cnp.NPY_FLOAT32
                matching &= fits(a, row.letters[slot])
            slot = slot + 1 if slot + 1 < row.arrays else 0 if row.family == UPDATE else slot
        if 0 < single < floats and row.name != "copy":
            raise TypeError(f"{row.name} takes one floating dtype, got {[str(a.dtype) for a in self.arrays]}")
        self.native = matching and not use_reference and mg_has(row.index)

    cdef fill_scalars(self):
        cdef int i
        cdef Array cell
        for i in range(self.row.scalars):
            scalar = self.scalars[i]
            if isinstance(scalar, cnp.ndarray):
                cell = scalar
                if cnp.PyArray_TYPE(cell) == cnp.NPY_FLOAT64:
                    self.c.scalar[i].kind = MG_CELL_F64
                elif cnp.PyArray_TYPE(cell) == cnp.NPY_INT64:
                    self.c.scalar[i].kind = MG_CELL_I64
                elif cnp.PyArray_TYPE(cell) == cnp.NPY_UINT64:
                    self.c.scalar[i].kind = MG_CELL_U64
                else:
                    raise TypeError(f"a cell is float64, int64 or uint64, got {cell.dtype}")
                if cnp.PyArray_SIZE(cell) != 1 or not cnp.PyArray_ISBEHAVED(cell):
                    raise ValueError("a cell is one aligned, writable element")
                self.c.scalar[i].cell = cnp.PyArray_DATA(cell)
            else:
                self.c.scalar[i].number = scalar

    cdef bint point(self, int slot, Array a) except -1:
        """Address and item size; False where C cannot read it in place."""
        self.c.array[slot] = cnp.PyArray_DATA(a)
        self.c.itemsize[slot] = cnp.PyArray_ITEMSIZE(a)
        self.c.arrays = slot + 1
        return cnp.PyArray_ISALIGNED(a) and cnp.PyArray_ISNOTSWAPPED(a)

    cdef mismatch(self):
        shapes = ", ".join(f"{name} {tuple(a.shape)}" for name, a in zip(self.names(), self.arrays))
        return ValueError(f"{self.row.name}: shapes do not fit: {shapes}")

    def names(self):
        return KERNELS[self.row.name].arrays

    cdef bint broadcast_strides(self, Array a, Array like, int64_t *strides, int trailing) except -1:
        """Element strides of ``a`` broadcast to ``like``, all but the last ``trailing`` axes."""
        cdef int ndim = cnp.PyArray_NDIM(like) - trailing, lead = ndim - (cnp.PyArray_NDIM(a) - trailing), axis
        cdef int64_t item = cnp.PyArray_ITEMSIZE(a), stride
        if lead < 0:
            raise self.mismatch()
        for axis in range(ndim):
            if axis < lead or cnp.PyArray_DIM(a, axis - lead) == 1 and cnp.PyArray_DIM(like, axis) != 1:
                strides[axis] = 0
                continue
            if cnp.PyArray_DIM(a, axis - lead) != cnp.PyArray_DIM(like, axis):
                raise self.mismatch()
            stride = cnp.PyArray_STRIDE(a, axis - lead)
            if stride % item:
                return False
            strides[axis] = stride // item
        return True

    cdef int merge(self, int ndim, Array sizes, int64_t (*strides)[MAX_DIMS], int key, int first, int axes) except -1:
        """Sort the axes by array ``key``'s strides, merge neighbours that run on in
        every array, and write them right-aligned at ``first .. first + axes``.
        Returns whether they fit."""
        cdef int order[MAX_DIMS]
        cdef int64_t size[MAX_DIMS]
        cdef int count = 0, axis, i, j, a, arrays = self.c.arrays, kept, moved
        cdef bint runs_on
        for axis in range(ndim):
            if cnp.PyArray_DIM(sizes, axis) == 1:
                continue
            i = count
            while i > 0 and llabs(strides[key][order[i - 1]]) < llabs(strides[key][axis]):
                order[i] = order[i - 1]
                i -= 1
            order[i] = axis
            count += 1
        for i in range(count):
            size[i] = cnp.PyArray_DIM(sizes, order[i])
        kept = 0  # merged axes so far: order[kept - 1] holds the innermost axis of the last one
        for i in range(count):
            moved = order[i]
            runs_on = kept > 0
            if runs_on:
                for a in range(arrays):
                    if strides[a][order[kept - 1]] != strides[a][moved] * size[i]:
                        runs_on = False
            if runs_on:
                size[kept - 1] *= size[i]
            else:
                size[kept] = size[i]
                kept += 1
            order[kept - 1] = moved
        if kept > axes:
            return 0
        for i in range(axes):
            self.c.size[first + i] = 1
            for a in range(arrays):
                self.c.stride[a][first + i] = 0
        for i in range(kept):
            j = first + axes - kept + i
            self.c.size[j] = size[i]
            for a in range(arrays):
                self.c.stride[a][j] = strides[a][order[i]]
        return 1

    cdef bint fill_elementwise(self) except -1:
        cdef int64_t strides[4][MAX_DIMS]
        cdef Array out = self.arrays[0], a
        cdef int slot
        cdef bint ready = True, one_run = True
        for slot in range(self.row.arrays):
            a = self.arrays[slot]
            ready &= self.point(slot, a)
            one_run &= cnp.PyArray_IS_C_CONTIGUOUS(a) and same_shape(a, out)
        self.c.work = cnp.PyArray_SIZE(out)
        if one_run:
            self.run_on()
        else:
            for slot in range(self.row.arrays):
                ready &= self.broadcast_strides(self.arrays[slot], out, strides[slot], 0)
        if self.c.work == 0:
            return True
        if not ready:
            return False
        if a_block(out):
            self.in_blocks(&self.c)
            if not self.inner_runs():
                return False
        elif not one_run and not (self.merge(cnp.PyArray_NDIM(out), out, strides, 0, 0, MG_MAX_AXES) and self.inner_runs()):
            return False
        for slot in range(1, self.row.arrays):
            if self.entangled(slot):
                return False
        return True

    cdef in_blocks(self, mg_call *c):
        """Sizes and strides of a call of a chain, of which each axis counts: (pieces, blocks, elements)."""
        cdef int64_t strides[MAX_DIMS]
        cdef int slot, axis
        for slot in range(c.arrays):
            self.broadcast_strides(self.arrays[slot], self.arrays[0], strides, 0)
            for axis in range(3):
                c.size[axis + 1] = cnp.PyArray_DIM(<Array>self.arrays[0], axis)
                c.stride[slot][axis + 1] = strides[axis]
        c.size[0] = 1

    cdef void run_on(self) noexcept:
        """Every array is one run of ``work`` elements."""
        cdef int slot
        self.c.size[0] = self.c.size[1] = self.c.size[2] = 1
        self.c.size[3] = self.c.work
        for slot in range(self.row.arrays):
            self.c.stride[slot][3] = 1

    cdef bint entangled(self, int slot) noexcept:
        """Whether input ``slot`` lies in the output's memory, but not element on element."""
        cdef char *first[2]
        cdef char *last[2]
        cdef int64_t step
        cdef int side, axis, at
        cdef bint same = self.c.array[slot] == self.c.array[0] and self.c.itemsize[slot] == self.c.itemsize[0]
        for side in range(2):
            at = slot if side else 0
            first[side] = last[side] = <char *>self.c.array[at]
            for axis in range(MG_MAX_AXES):
                if self.c.size[axis] > 1:
                    step = (self.c.size[axis] - 1) * self.c.stride[at][axis] * self.c.itemsize[at]
                    if step < 0:
                        first[side] += step
                    else:
                        last[side] += step
                    same &= self.c.stride[at][axis] == self.c.stride[0][axis]
        return not same and first[0] < last[1] + self.c.itemsize[slot] and first[1] < last[0] + self.c.itemsize[0]

    cdef bint apart(self) noexcept:
        """Whether no input lies in an output's memory; of rows and flat arrays it may be the output itself."""
        cdef Array out, a
        cdef int i, j
        cdef bint in_place = self.row.family == ROWS or self.row.family == FLAT or self.row.family == CELLS
        for i in range(self.row.outputs):
            out = self.arrays[i]
            for j in range(self.row.outputs, self.row.arrays):
                a = self.arrays[j]
                if overlap(out, a) and not (in_place and cnp.PyArray_DATA(a) == cnp.PyArray_DATA(out)
                                            and cnp.PyArray_TYPE(a) == cnp.PyArray_TYPE(out) and same_layout(a, out)):
                    return False
        return True

    cdef bint inner_runs(self):
        """Whether the innermost axis of an elementwise call is contiguous or, for an input, broadcast."""
        cdef int slot
        if self.c.size[3] == 1:
            return True
        for slot in range(self.row.arrays):
            if self.c.stride[slot][3] != 1 and (slot == 0 or self.c.stride[slot][3] != 0):
                return False
        return True

    cdef point_constant(self, int slot, double number):
        self.constant[slot] = <float>number
        self.c.array[slot] = &self.constant[slot]
        self.c.itemsize[slot] = sizeof(float)
        self.c.arrays = slot + 1

    cdef bint fill_reduce(self) except -1:
        cdef int64_t strides[4][MAX_DIMS]
        cdef Array out = self.arrays[0], x = self.arrays[1]
        cdef int axis, ndim = cnp.PyArray_NDIM(x)
        if cnp.PyArray_NDIM(out) != ndim:
            raise self.mismatch()
        cdef bint ready = self.point(0, out)
        ready &= self.point(1, x)
        self.c.work = cnp.PyArray_SIZE(x)
        ready &= self.broadcast_strides(out, x, strides[0], 0)
        ready &= self.broadcast_strides(x, x, strides[1], 0)
        if self.c.work == 0:  # what an empty reduction gives is NumPy's to say
            self.native = False
            return True
        if not ready or not self.merge(ndim, x, strides, 1, 0, MG_MAX_AXES):
            return False
        return self.c.size[3] == 1 or self.c.stride[1][3] == 1

    cdef bint fill_matmul(self) except -1:
        cdef int64_t strides[4][MAX_DIMS]
        cdef bint linear = self.row.name == "linear", masked = self.row.name == "matmul_relu_grad", ready = True
        cdef Array out = self.arrays[0], a = self.arrays[1], b = self.arrays[2], array, bias
        cdef int slot, side, ndim = cnp.PyArray_NDIM(out)
        cdef int64_t m, n, k, item = 4, stride
        if ndim < 2 or cnp.PyArray_NDIM(a) < 2 or cnp.PyArray_NDIM(b) < 2 or (linear and ndim != 2):
            raise self.mismatch()
        m, n = cnp.PyArray_DIM(out, ndim - 2), cnp.PyArray_DIM(out, ndim - 1)
        k = cnp.PyArray_DIM(a, cnp.PyArray_NDIM(a) - 1)
        cdef int64_t[8] expected = [m, n, m, k, n if linear else k, k if linear else n, m, n]
        cdef int64_t wanted
        for slot in range(4 if masked else 3):
            array = self.arrays[slot]
            if cnp.PyArray_NDIM(array) < 2:
                raise self.mismatch()
            ready &= self.point(slot, array)
            ready &= self.broadcast_strides(array, out, strides[slot], 2)
            for side in range(2):
                wanted = expected[2 * slot + side]
                if cnp.PyArray_DIM(array, cnp.PyArray_NDIM(array) - 2 + side) != wanted:
                    raise self.mismatch()
                stride = cnp.PyArray_STRIDE(array, cnp.PyArray_NDIM(array) - 2 + side)
                ready &= stride % item == 0
                # The stride of an axis of length 1 means nothing; 1 suits every path.
                self.c.stride[slot][2 + side] = stride // item if wanted != 1 else 1
        self.c.work = cnp.PyArray_SIZE(out) * k
        if self.c.work == 0:  # no output, or a sum of nothing
            self.native = False
        if not ready or not self.merge(ndim - 2, out, strides, 0, 0, 2):
            return False
        self.c.size[2], self.c.size[3] = m, n
        self.c.scalar[MATMUL_K].number = k
        if linear:
            bias = self.arrays[3]
            if cnp.PyArray_NDIM(bias) != 1 or cnp.PyArray_DIM(bias, 0) != n:
                raise self.mismatch()
            if not self.point(3, bias) or (n > 1 and cnp.PyArray_STRIDE(bias, 0) != item):
                return False
        if masked and self.c.stride[3][3] != 1:
            return False
        return self.c.stride[0][3] == 1 or (self.row.arrays == 3 and self.c.stride[0][2] == 1)

    cdef bint fill_rows(self) except -1:
        cdef Array a, wide = None
        cdef int slot
        cdef bint ready = True
        for slot in range(self.row.arrays):
            a = self.arrays[slot]
            if wide is None and cnp.PyArray_NDIM(a) == 2:
                wide = a
        if wide is None or cnp.PyArray_DIM(wide, 1) == 0:
            raise self.mismatch()
        self.c.size[2], self.c.size[3] = cnp.PyArray_DIM(wide, 0), cnp.PyArray_DIM(wide, 1)
        cdef unsigned matrices = self.row.matrices, along = self.row.along
        for slot in range(self.row.arrays):
            a = self.arrays[slot]
            if cnp.PyArray_NDIM(a) != (2 if matrices >> slot & 1 else 1):
                raise self.mismatch()
            if cnp.PyArray_DIM(a, 0) != self.c.size[3 if along >> slot & 1 else 2]:
                raise self.mismatch()
            if matrices >> slot & 1 and cnp.PyArray_DIM(a, 1) != self.c.size[3]:
                raise self.mismatch()
            ready &= self.point(slot, a) and cnp.PyArray_IS_C_CONTIGUOUS(a)
        self.c.work = cnp.PyArray_SIZE(wide)
        return ready

    cdef bint fill_flat(self) except -1:
        cdef Array a
        cdef int slot
        cdef bint ready = True
        cdef tuple counts
        cdef int64_t n
        if self.row.name == "philox":
            a = self.arrays[0]
            n = cnp.PyArray_SIZE(a) // 4
            counts = (4 * n, 4 * n, 2 * n)
        elif self.row.name == "dropout":
            a = self.arrays[0]
            n = cnp.PyArray_SIZE(a)
            counts = (n, (n + 7) // 8, n)
        else:
            a = self.arrays[0]
            n = cnp.PyArray_SIZE(a)
            counts = (n, n, (n + 7) // 8)
        for slot in range(self.row.arrays):
            a = self.arrays[slot]
            if cnp.PyArray_SIZE(a) != counts[slot]:
                raise self.mismatch()
            ready &= self.point(slot, a) and cnp.PyArray_IS_C_CONTIGUOUS(a)
        if self.row.name == "dropout":
            for slot in range(1, 3):
                if not self.whole(slot):
                    raise TypeError(f"dropout: {('key', 'counter')[slot - 1]} is a uint64 cell or a whole number "
                                    f"below 2**53, got {self.scalars[slot]!r}")
        self.c.size[3] = n
        self.c.work = n
        return ready

    cdef bint fill_cells(self) except -1:
        cdef Array a
        cdef int slot
        cdef bint ready = True
        for slot in range(self.row.arrays):
            a = self.arrays[slot]
            if slot == self.row.table:
                self.c.size[3] = cnp.PyArray_SIZE(a)
                if self.c.size[3] == 0:
                    raise self.mismatch()
            elif cnp.PyArray_SIZE(a) != 1:
                raise self.mismatch()
            ready &= self.point(slot, a) and cnp.PyArray_IS_C_CONTIGUOUS(a)
        self.c.work = 1
        return ready

    cdef bint fill_images(self) except -1:
        cdef int64_t length[128]
        cdef const unsigned char *letter = self.row.shapes
        cdef int64_t n
        cdef Array a, first = self.arrays[0]
        cdef int slot, axis, i
        cdef bint ready = True
        for i in range(128):
            length[i] = i - 48 if 48 <= i < 58 else -1
        for slot in range(self.row.arrays):
            a = self.arrays[slot]
            axis = 0
            while letter[0] != 0 and letter[0] != b" ":
                if axis == cnp.PyArray_NDIM(a):
                    raise self.mismatch()
                n = cnp.PyArray_DIM(a, axis)
                if letter[0] == b"m" and n != 0:
                    length[b"m"] = length[b"n"]
                if length[letter[0]] < 0:
                    length[letter[0]] = n
                if length[letter[0]] != n:
                    raise self.mismatch()
                axis += 1
                letter += 1
            letter += letter[0] == b" "
            if axis != cnp.PyArray_NDIM(a):
                raise self.mismatch()
            if self.row.letters[slot] == b"p" and cnp.PyArray_TYPE(a) != cnp.PyArray_TYPE(first):
                raise TypeError(f"{self.row.name} takes images of one dtype, got {first.dtype} and {a.dtype}")
            ready &= self.point(slot, a) and cnp.PyArray_IS_C_CONTIGUOUS(a)
            if cnp.PyArray_SIZE(a) == 0:
                self.c.array[slot] = NULL
        for i in range(4):
            self.c.size[i] = max(length[b"nchw"[i]], 0)
        fitting = IMAGE_LENGTHS.get(self.row.name)
        if fitting is not None and not fitting(length[b"c"], length[b"d"], length[b"e"], length[b"T"]):
            raise self.mismatch()
        for i in range(6):
            self.c.scalar[FIRST_BEHIND + i].number = length[BEHIND[i]]
        self.c.work = cnp.PyArray_SIZE(first)
        if self.c.work > 0 and (length[b"H"] == 0 or length[b"W"] == 0):
            raise self.mismatch()
        if (length[b"H"] + 8) * (length[b"W"] + 8) >= 2**30:
            raise ValueError(f"{self.row.name} takes images of fewer than 2**30 pixels")
        return ready

    cdef bint whole(self, int i) except -1:
        """Whether C reads scalar ``i`` as the uint64 that it is."""
        if self.c.scalar[i].kind != MG_IMMEDIATE:
            return self.c.scalar[i].kind == MG_CELL_U64
        return 0 <= self.scalars[i] < 2**53 and int(self.scalars[i]) == self.scalars[i]

    cdef bint fill_update(self) except -1:
        """Arrays of one tensor share shape and strides and fill their memory, in any axis order."""
        cdef int group = self.row.arrays, slot
        cdef Py_ssize_t t, tensors = len(self.arrays) // group
        cdef Array a, first
        cdef cnp.npy_intp words = len(self.arrays) + 3 * tensors
        cdef Array table = cnp.PyArray_EMPTY(1, &words, cnp.NPY_INT64, False)
        cdef void **pointer = <void **>cnp.PyArray_DATA(table)
        cdef int64_t *size = <int64_t *>(pointer + len(self.arrays))
        for t in range(tensors):
            first = self.arrays[t * group]
            size[t] = cnp.PyArray_SIZE(first)
            note_units(first, size + tensors + 2 * t)
            self.c.work += size[t]
            for slot in range(group):
                a = self.arrays[t * group + slot]
                if not same_layout(a, first):
                    raise ValueError(
                        f"{self.row.name}: the arrays of a tensor need one shape and one dense, native memory order, got "
                        f"{describe(a)} beside {describe(first)}")
                pointer[t * group + slot] = cnp.PyArray_DATA(a)
        self.tables = table
        self.c.array[0], self.c.array[1] = pointer, size
        self.c.arrays = 2
        self.c.size[0] = tensors
        return True

    cdef bint renew(self, Row row, tuple arrays, tuple scalars) except -1:
        """Be a call of ``row`` on ``arrays``, of the sizes that this one had; False if they are others, or do not fit.

        Only for an update that nobody has kept.
        """
        cdef int group = row.arrays, slot = 0, writes = row.outputs
        cdef Py_ssize_t i, n = len(arrays)
        cdef Array a, first = None
        cdef void **pointer = <void **>self.c.array[0]
        cdef int64_t *size = <int64_t *>self.c.array[1]
        if row is not self.row or scalars is not self.scalars or n != self.c.size[0] * group or not self.native or use_reference:
            return False
        for i in range(n):
            a = <Array>arrays[i]
            if slot == 0:
                first = a
            if not plain(a) or cnp.PyArray_SIZE(a) != size[i // group] or not same_layout(a, first):
                return False
            if slot < writes and not cnp.PyArray_ISWRITEABLE(a):
                return False
            if slot == 0:
                note_units(a, size + n // group + i // group * 2)
            pointer[i] = cnp.PyArray_DATA(a)
            slot = slot + 1 if slot + 1 < group else 0
        self.arrays = arrays
        return True

    cdef bint fill_tensors(self) except -1:
        """The array that repeats fills its memory, in any axis order; the number before it comes behind the tables."""
        cdef int lead = self.row.arrays - 1
        cdef Py_ssize_t t, tensors = len(self.arrays) - lead
        cdef Array a, number
        cdef bint ready = True
        cdef cnp.npy_intp words = 2 * tensors
        cdef Array table = cnp.PyArray_EMPTY(1, &words, cnp.NPY_INT64, False)
        cdef void **pointer = <void **>cnp.PyArray_DATA(table)
        cdef int64_t *size = <int64_t *>(pointer + tensors)
        self.c.work = lead  # the number is written even where the tensors are empty
        for t in range(tensors):
            a = self.arrays[lead + t]
            pointer[t], size[t] = cnp.PyArray_DATA(a), cnp.PyArray_SIZE(a)
            self.c.work += size[t]
            ready &= same_layout(a, a) and (lead == 0 or not overlap(<Array>self.arrays[0], a))
        if lead:
            number = self.arrays[0]
            if cnp.PyArray_SIZE(number) != 1:
                raise self.mismatch()
            ready &= self.point(2, number)
        self.tables = table
        self.c.array[0], self.c.array[1] = pointer, size
        self.c.arrays = 2 + lead
        self.c.size[0] = tensors
        return ready

    cpdef run(self):
        """Run the kernel.  The interpreter lock is released where the work is worth a thread."""
        cdef int status
        if not self.native:
            reference.run(self.row.name, NAMES[self.row.family], self.row.arrays, self.arrays, self.scalars)
            return
        if self.c.work == 0:
            return
        if mg_parts(&self.c) > 1:
            with nogil:
                status = mg_run(&self.c)
        else:
            status = mg_run(&self.c)
        if status != MG_OK:
            raise self.failure(status)

    def failure(self, int status):
        """The exception for a status that the kernel returned."""
        if status == MG_BAD_LABEL:
            return IndexError(reference.bad_label(self.arrays[self.row.arrays - 1], self.c.size[3]))
        if status == MG_NO_MEMORY:
            return MemoryError(f"{self.row.name}: no memory for scratch")
        return RuntimeError(f"{self.row.name}: kernel status {status}")


# Replay -------------------------------------------------------------------------------------


cdef struct patch:
    void **place    # where a call has the address of an array
    int64_t offset  # of the array from the start of the input


def after_replay(list writes, list leaves):
    """Raise the version of each written storage; give each leaf its gradient."""
    for storage, writer in writes:
        storage.version += 1
        if storage.writer is not writer:
            storage.writer, storage.source = writer, ""
    for leaf, grad in leaves:
        if leaf.grad is not grad:
            leaf.grad = grad


@cython.final
cdef class Replay:
    """A recorded list of calls that C runs again: see ``minigrad.capture``.

    ``inputs`` are the arrays that the calls read a batch from.  Where every use of one is a kernel's, another
    batch is read in place, by its address; else it is copied there.  ``written`` is the memory from outside that
    the calls change, in which a batch must not lie.  ``chains`` are pairs of a first call and how many run together
    from there on, block by block: their arrays are (pieces, blocks, elements), or single numbers.
    """

    cdef mg_list list
    cdef int64_t work
    cdef list native     # the Call of each entry of the list
    cdef list stops      # (entries before it, call): what runs in Python
    cdef list inputs, outputs, held, written
    cdef list patches    # for each input its patches, as bytes; None where it must be copied in
    cdef list addresses  # to which each input is bound
    cdef span *spans     # of the written memory
    cdef mg_team_list team
    cdef mg_choice choice  # between the team and the list
    cdef int team_of     # with how many threads in use the team works; 0 if there is none
    cdef object parts, wholes, ends, rows  # of the team: its calls, and what they are parts of

    def __cinit__(self, list calls, list inputs, list outputs, list written, list chains, team=None):
        cdef Call call
        cdef Array a, batch
        cdef int64_t i, place
        cdef int thread
        self.native, self.stops = [], []
        for each in calls:
            if not each.native:
                self.stops.append((len(self.native), each))
                continue
            if each.work:
                self.native.append(each)
            call = each
            self.work += call.c.work
        self.spans = <span *>malloc((len(written) + 1) * sizeof(span))
        if self.spans == NULL:
            raise MemoryError
        for i in range(len(written)):
            self.spans[i] = span_of(<Array>written[i])
        self.inputs, self.outputs, self.held, self.written = inputs, outputs, list(inputs), written
        self.addresses = [<size_t>cnp.PyArray_DATA(<Array>a) for a in inputs]
        self.patches = []
        for batch in inputs:
            others = [*outputs, *written]
            for _, each in self.stops:
                others += each.arrays
            for call in self.native:
                others += call.arrays if call.row.family >= UPDATE else ()  # found through a table
            self.patches.append(None if any([overlap(batch, a) for a in others]) else b"")
        self.enlist(&self.list, self.native)
        for first, count in chains:
            place = self.native.index(calls[first])
            self.list.calls[place].chain = count
            for i in range(place, place + count):
                call = self.native[i]
                call.in_blocks(&self.list.calls[i])
        if team is None:
            return
        self.team_of, self.parts, self.wholes, ends, rows, self.team.closed = team
        self.ends, self.rows = np.array(ends, np.int64), np.array(rows, np.int64)
        self.team.threads, self.team.phases = len(ends), len(ends[0])
        self.team.end = <const int64_t *>cnp.PyArray_DATA(self.ends)
        self.team.row = <const int64_t *>cnp.PyArray_DATA(self.rows)
        self.team.list = <mg_list *>calloc(self.team.threads, sizeof(mg_list))
        if self.team.list == NULL:
            raise MemoryError
        for thread in range(self.team.threads):
            self.team.list[thread].alone = True
            self.enlist(&self.team.list[thread], self.parts[thread])

    cdef enlist(self, mg_list *found, list calls):
        """Fill a list, and note where its calls read inputs."""
        cdef Call call
        cdef Array batch
        cdef patch one
        cdef int64_t i
        cdef int slot, k
        found.count = len(calls)
        found.calls = <mg_call *>malloc((found.count + 1) * sizeof(mg_call))
        if found.calls == NULL:
            raise MemoryError
        for i in range(found.count):
            call = calls[i]
            found.calls[i] = call.c
        for k in range(len(self.inputs)):
            batch = self.inputs[k]
            noted = self.patches[k]
            if noted is None:
                continue
            for i in range(found.count):
                call = calls[i]
                for slot in range(call.c.arrays if call.row.family < UPDATE else 0):
                    one.offset = <char *>call.c.array[slot] - <char *>cnp.PyArray_DATA(batch)
                    if 0 <= one.offset < cnp.PyArray_NBYTES(batch):
                        one.place = &found.calls[i].array[slot]
                        noted += (<char *>&one)[:sizeof(patch)]
            self.patches[k] = noted

    def __dealloc__(self):
        cdef int i
        free(self.list.calls)
        free(self.list.scratch)
        free(self.spans)
        for i in range(self.team.threads if self.team.list != NULL else 0):
            free(self.team.list[i].calls)
            free(self.team.list[i].scratch)
        free(self.team.list)

    cdef bind(self, int i, Array a):
        """Have the calls read input ``i`` from ``a``, or copy it to where they read."""
        cdef Array own = self.inputs[i]
        cdef bytes found = self.patches[i]
        cdef span memory
        cdef Py_ssize_t k
        cdef bint in_place = found is not None and (
            a is own or cnp.PyArray_IS_C_CONTIGUOUS(a) and cnp.PyArray_ISALIGNED(a) and cnp.PyArray_ISNOTSWAPPED(a))
        if in_place and a is not own:
            memory = span_of(a)
            for k in range(len(self.written)):
                in_place &= memory.start >= self.spans[k].stop or self.spans[k].start >= memory.stop
        if not in_place:
            if a is not own:
                cnp.PyArray_CopyInto(own, a)
            a = own
        self.held[i] = a
        cdef size_t address = <size_t>cnp.PyArray_DATA(a)
        if found is None or address == <size_t>self.addresses[i]:
            return
        self.addresses[i] = address
        cdef const patch *patches = <const patch *><const char *>found
        for k in range(<Py_ssize_t>(len(found) // sizeof(patch))):
            patches[k].place[0] = <char *>cnp.PyArray_DATA(a) + patches[k].offset

    def fitting(self, tuple inputs):
        """The arrays of ``inputs``, arrays or tensors; None unless they have the shapes and dtypes to be read."""
        cdef Py_ssize_t i
        cdef list arrays = []
        if len(inputs) != len(self.inputs):
            return None
        for i in range(len(inputs)):
            x = inputs[i]
            if not isinstance(x, cnp.ndarray):
                x = getattr(x, "data", None)
                if not isinstance(x, cnp.ndarray):
                    return None
            if not same_shape(<Array>x, <Array>self.inputs[i]):
                return None
            if cnp.PyArray_DESCR(<Array>x) is not cnp.PyArray_DESCR(<Array>self.inputs[i]):
                if x.dtype != self.inputs[i].dtype:
                    return None
            arrays.append(x)
        return arrays

    def run(self, list arrays, list writes, list leaves):
        """One replay on ``arrays``, which fit; tells the storages that were written and the leaves their gradient.

        Gives copies of the outputs.
        """
        cdef Py_ssize_t i
        for i in range(len(arrays)):
            self.bind(i, <Array>arrays[i])
        self.once()
        after_replay(writes, leaves)
        return [cnp.PyArray_NewCopy(<Array>a, cnp.NPY_CORDER) for a in self.outputs]

    cdef bint settled(self) except -1:
        """Prepare the calls for as many threads as there are now; whether the team is made for so many."""
        cdef int i, status = mg_settle(&self.list)
        cdef bint team = self.team_of == mg_num_threads()
        for i in range(self.team.threads if team else 0):
            status |= mg_settle(&self.team.list[i])
        if status != MG_OK:
            raise MemoryError("no memory for the scratch of a replay")
        return team

    cdef by_team(self, mg_run_plan *plan, const int64_t *order, int64_t steps, int64_t first):
        """``steps`` replays where there is a team."""
        cdef int status
        cdef int64_t done = 0
        cdef mg_place place
        with nogil:
            status = mg_replay_best(&self.choice, &self.list, &self.team, plan, order, steps, &done, &place)
        if status != MG_OK:
            call = self.native[place.at] if place.thread < 0 else self.wholes[place.thread][place.at]
            self.fail(call, status, f", in step {first + done}" if plan.rows else "")

    cdef once(self):
        cdef int64_t begin = 0, end
        cdef mg_run_plan plan
        if self.team.threads and self.settled():
            memset(&plan, 0, sizeof(plan))
            self.by_team(&plan, NULL, 1, 0)
            return
        for end, call in self.stops:
            self.stretch(begin, end)
            call.run()
            begin = end
        self.stretch(begin, self.list.count)

    cdef stretch(self, int64_t begin, int64_t end):
        cdef int64_t at = begin
        cdef int status = mg_settle(&self.list)
        if status != MG_OK:
            raise MemoryError("no memory for the scratch of a replay")
        if self.work > FEW * 16:
            with nogil:
                status = mg_replay(&self.list, begin, end, &at)
        else:
            status = mg_replay(&self.list, begin, end, &at)
        if status != MG_OK:
            self.fail(self.native[at], status, "")

    def timed(self):
        """One replay on the last batch: the seconds of each call, in the order of the list."""
        cdef int64_t begin = 0, end, at = 0
        cdef int status
        cdef Array seconds = np.zeros(self.list.count)
        cdef double *native = <double *>cnp.PyArray_DATA(seconds)
        found = []
        mg_settle(&self.list)
        for end, call in (*self.stops, (self.list.count, None)):
            status = mg_replay_timed(&self.list, begin, end, &at, native)
            if status != MG_OK:
                self.fail(self.native[at], status, "")
            found += seconds[begin:end].tolist()
            begin = end
            if call is not None:
                start = perf_counter()
                call.run()
                found.append(perf_counter() - start)
        return found

    cdef fail(self, Call call, int status, where):
        for own, held in zip(self.inputs, self.held):
            if own is not held:
                np.copyto(own, held)  # where the message looks for what was wrong
        error = call.failure(status)
        error.add_note(f"in call {call!r} of a replay{where}")
        raise error

    def run_steps(self, tuple data, Array order, int64_t rows, int64_t steps, float scale, list logged, list logs,
                  int64_t first):
        """``steps`` replays, each on the next ``rows`` rows of ``data`` by ``order``; ``logged`` goes to ``logs``."""
        cdef int64_t done = 0, at = 0
        cdef int i, status
        cdef bytearray feeds = bytearray(len(data) * sizeof(mg_feed)), noted = bytearray(len(logs) * sizeof(mg_log))
        cdef mg_feed *feed = <mg_feed *><char *>feeds
        cdef mg_log *log = <mg_log *><char *>noted
        cdef Array a, own
        cdef mg_run_plan plan
        cdef const int64_t *indices = <const int64_t *>cnp.PyArray_DATA(order) + first * rows
        plan.rows = rows
        plan.feed, plan.log, plan.feeds, plan.logs = feed, log, len(data), len(logs)
        for i in range(plan.feeds):
            a, own = data[i], self.inputs[i]
            self.bind(i, own)
            feed[i].data, feed[i].batch = cnp.PyArray_DATA(a), cnp.PyArray_DATA(own)
            feed[i].scaled, feed[i].scale = cnp.PyArray_TYPE(a) != cnp.PyArray_TYPE(own), scale
            feed[i].row = cnp.PyArray_NBYTES(a) // cnp.PyArray_DIM(a, 0)
        for i in range(plan.logs):
            a, own = logged[i], logs[i]
            log[i].from_, log[i].bytes = cnp.PyArray_DATA(a), cnp.PyArray_ITEMSIZE(a)
            log[i].to = <char *>cnp.PyArray_DATA(own) + first * log[i].bytes
        if not self.stops:
            if self.settled():
                self.by_team(&plan, indices, steps, first)
                return
            with nogil:
                status = mg_replay_steps(&self.list, &plan, indices, 0, steps, &done, &at)
            if status != MG_OK:
                self.fail(self.native[at], status, f", in step {first + done}")
            return
        for done in range(steps):
            for i in range(plan.feeds):
                mg_feed_rows(&feed[i], indices + done * rows, 0, rows)
            self.once()
            for i in range(plan.logs):
                memcpy(<char *>log[i].to + done * log[i].bytes, log[i].from_, log[i].bytes)


# The quick way ----------------------------------------------------------------------------
#
# The functions below are the helpers of launch.py for what is common: plain float32 arrays, C
# targets, nobody observing.  They check the same, allocate the destination and run one call.
# Everything else, errors too, they leave to the helper of the same name.

cdef object observed = None  # the slot of the observer of kernel calls
cdef dict helpers = {}
cdef Call spare = None       # the record of the last call that nobody kept, to be filled anew


def quicken(helper):
    """The function of this module that has the helper's name, and the helper behind it."""
    helpers[helper.__name__] = helper
    return update_wrapper(globals()[helper.__name__], helper)


def set_slot(slot):
    """Where an observer of kernel calls is found, as ``slot.observer``."""
    global observed
    observed = slot


cdef inline bint unseen():
    return observed is not None and observed.observer is None


cdef inline Row row_of(name):
    row = known.get(name)
    if row is None:
        raise KeyError(name)
    return <Row>row


cdef inline Call record():
    global spare
    cdef Call call = spare
    spare = None
    return Call.__new__(Call) if call is None else call


cdef inline void release(Call call) noexcept:
    global spare
    call.arrays = call.scalars = call.tables = None
    spare = call


cdef bint ran(Row row, tuple arrays, tuple scalars) except -1:
    """Run a call where its arrays can be used as they are."""
    cdef Call call = record()
    call.fill(row, arrays, scalars)
    if call.ready:
        call.run()
    release(call)
    return call.ready


cdef inline bint plain(x) noexcept:
    """Whether C reads ``x`` in place: a native, aligned float32 array."""
    return isinstance(x, cnp.ndarray) and (cnp.PyArray_TYPE(<Array>x) == cnp.NPY_FLOAT32
                                           and cnp.PyArray_ISALIGNED(<Array>x) and cnp.PyArray_ISNOTSWAPPED(<Array>x))


cdef inline Array empty(int ndim, int64_t first, int64_t second, bint turned=False):
    cdef cnp.npy_intp[2] shape = [first, second]
    return fresh(ndim, shape, cnp.NPY_FLOAT32, turned)


cdef mg_call alike  # the record of the calls of ``ran_alike``, which writes only what differs between them
alike.size[:] = [1, 1, 1, 0]
alike.stride[0][3] = alike.stride[1][3] = alike.stride[2][3] = 1
alike.itemsize[:] = [4, 4, 4, 4]


cdef bint ran_alike(Row row, Array out, tuple inputs, int first) except -1:
    """Run an elementwise call on ``out`` and ``inputs[first:]`` if all are runs of few float32, as most are.
    Whatever else is there, or wrong, is left to the whole of the checks."""
    cdef Array a
    cdef int slot
    cdef int64_t distance
    alike.work = alike.size[3] = cnp.PyArray_SIZE(out)
    if not row.uniform or use_reference or not 0 < alike.work <= FEW or len(inputs) - first != row.arrays - 1:
        return False
    if not run_of_floats(out) or not cnp.PyArray_ISWRITEABLE(out):
        return False
    for slot in range(1, row.arrays):
        if not run_of_floats(inputs[first + slot - 1]):
            return False
        a = <Array>inputs[first + slot - 1]
        distance = <char *>cnp.PyArray_DATA(a) - <char *>cnp.PyArray_DATA(out)
        if not same_shape(a, out) or (distance != 0 and llabs(distance) < 4 * alike.work):
            return False
        alike.array[slot] = cnp.PyArray_DATA(a)
    alike.array[0] = cnp.PyArray_DATA(out)
    alike.kernel, alike.arrays = row.index, row.arrays
    return mg_run(&alike) == MG_OK


cdef inline bint run_of_floats(x) noexcept:
    return plain(x) and cnp.PyArray_IS_C_CONTIGUOUS(<Array>x)


cdef mg_call product  # of ``ran_product``
product.size[:] = [1, 1, 0, 0]
product.itemsize[:] = [4, 4, 4, 4]


cdef inline bint points(int slot, Array a, int64_t rows, int64_t columns, bint turned=False) noexcept:
    """Note a matrix of the product, or its transpose; False if it has another shape, or strides that C does not take."""
    cdef int64_t down, along
    if cnp.PyArray_NDIM(a) != 2 or cnp.PyArray_DIM(a, turned) != rows or cnp.PyArray_DIM(a, not turned) != columns:
        return False
    down, along = cnp.PyArray_STRIDE(a, turned), cnp.PyArray_STRIDE(a, not turned)
    product.array[slot] = cnp.PyArray_DATA(a)
    product.stride[slot][2] = down // 4 if rows != 1 else 1
    product.stride[slot][3] = along // 4 if columns != 1 else 1
    return down % 4 == 0 and along % 4 == 0


cdef bint ran_product(Row row, Array out, Array a, Array b, Array bias=None, bint relu=False) except -1:
    """Run the product of two plain matrices, or a layer with its bias, too small for threads, into memory of its own;
    the rest is left to the whole of the checks."""
    cdef int64_t m, n, k
    if use_reference or not cnp.PyArray_ISWRITEABLE(out) or cnp.PyArray_NDIM(out) != 2 or cnp.PyArray_NDIM(a) != 2:
        return False
    m, n, k = cnp.PyArray_DIM(out, 0), cnp.PyArray_DIM(out, 1), cnp.PyArray_DIM(a, 1)
    product.work = m * n * k
    if product.work == 0 or not (points(0, out, m, n) and points(1, a, m, k)) or product.stride[0][3] != 1:
        return False
    if bias is None:
        product.arrays = 3
        if not points(2, b, k, n):
            return False
    else:
        product.arrays, product.array[3], product.scalar[0].number = 4, cnp.PyArray_DATA(bias), relu
        if not points(2, b, n, k) or not cnp.PyArray_IS_C_CONTIGUOUS(bias) or cnp.PyArray_NDIM(bias) != 1:
            return False
        if cnp.PyArray_DIM(bias, 0) != n:
            return False
    product.kernel, product.size[2], product.size[3], product.scalar[MATMUL_K].number = row.index, m, n, k
    return mg_parts(&product) == 1 and mg_run(&product) == MG_OK


cdef bint ran_weight_grad(Array out, Array x, Array dy) except -1:
    """Run ``out.T = x.T @ dy`` for out (n, k) in Fortran order, x (m, k) and dy (m, n), if it is small."""
    cdef int64_t m = cnp.PyArray_DIM(dy, 0), n = cnp.PyArray_DIM(dy, 1), k = cnp.PyArray_DIM(x, 1)
    product.work = m * n * k
    if use_reference or product.work == 0:
        return False
    if not (points(0, out, k, n, True) and points(1, x, k, m, True) and points(2, dy, m, n)):
        return False
    product.kernel, product.arrays, product.size[2], product.size[3] = matmul_row.index, 3, k, n
    product.scalar[MATMUL_K].number = m
    return mg_parts(&product) == 1 and mg_run(&product) == MG_OK


cdef mg_call columns  # of ``ran_column_sums``
columns.arrays = 2
columns.size[:] = [1, 1, 1, 1]
columns.itemsize[:] = [4, 4, 4, 4]
columns.stride[0][3] = columns.stride[1][3] = 1


cdef bint ran_column_sums(Array out, Array x) except -1:
    """Run the sums (n,) over the rows of x (m, n), if they are few."""
    cdef int64_t m = cnp.PyArray_DIM(x, 0), n = cnp.PyArray_DIM(x, 1)
    columns.work = m * n
    if use_reference or not cnp.PyArray_IS_C_CONTIGUOUS(x) or m < 2 or n < 2 or columns.work > FEW:
        return False
    columns.kernel, columns.array[0], columns.array[1] = sum_row.index, cnp.PyArray_DATA(out), cnp.PyArray_DATA(x)
    columns.size[2], columns.size[3], columns.stride[1][2] = m, n, n
    return mg_run(&columns) == MG_OK


def launch(name, tuple arrays not None, tuple scalars not None=()):
    cdef Row row = row_of(name)
    if unseen():
        if row is matmul_row and len(arrays) == 3 and len(scalars) == 0:
            if plain(arrays[0]) and plain(arrays[1]) and plain(arrays[2]):
                if (not overlap(<Array>arrays[0], <Array>arrays[1]) and not overlap(<Array>arrays[0], <Array>arrays[2])
                        and ran_product(row, <Array>arrays[0], <Array>arrays[1], <Array>arrays[2])):
                    return
        elif len(arrays) > 1 and len(scalars) == 0 and isinstance(arrays[0], cnp.ndarray):
            if ran_alike(row, <Array>arrays[0], arrays, 1):
                return
        if ran(row, arrays, scalars):
            return
    helpers["launch"](name, arrays, scalars)


def prepare(name, tuple arrays not None, tuple scalars not None=(), Call before=None):
    cdef Row row = row_of(name)
    if before is not None and unseen() and before.renew(row, arrays, scalars):
        return before
    return Call(row, arrays, scalars)


def pass_on(call):
    if unseen() and isinstance(call, Call):
        (<Call>call).run()
    else:
        helpers["pass_on"](call)


def spent(call):
    if not unseen() or not isinstance(call, Call):
        return None
    (<Call>call).arrays = ()  # its pointers stay, for as many arrays
    return call


def unary(name, x, *scalars):
    out = broadcast(row_of(name), (x,), scalars) if unseen() else None
    return helpers["unary"](name, x, *scalars) if out is None else out


def elementwise(name, *operands):
    out = broadcast(row_of(name), operands, ()) if unseen() else None
    return helpers["elementwise"](name, *operands) if out is None else out


def where(condition, a, b):
    out = broadcast(row_of("where"), (condition, a, b), ()) if unseen() else None
    return helpers["where"](condition, a, b) if out is None else out


cdef broadcast(Row row, tuple operands, tuple scalars):
    """The result of an elementwise kernel on arrays and numbers, or None."""
    cdef Array a, like = None, out
    cdef int slot, axis, lead, ndim, count = row.arrays
    cdef bint one_run = True
    if use_reference or len(operands) != count - 1 or len(scalars) != row.scalars or len(row.letters) != count:
        return None
    for slot in range(1, count):
        x = operands[slot - 1]
        if isinstance(x, cnp.ndarray):
            a = <Array>x
            if not fits(a, row.letters[slot]) or not cnp.PyArray_ISALIGNED(a) or not cnp.PyArray_ISNOTSWAPPED(a):
                return None
            one_run &= cnp.PyArray_IS_C_CONTIGUOUS(a) and (like is None or same_shape(a, like))
            if like is None or cnp.PyArray_NDIM(a) > cnp.PyArray_NDIM(like):
                like = a
        elif row.letters[slot] != b"f" or (type(x) is not float and type(x) is not int):
            return None
    if like is None:
        return None
    cdef cnp.npy_intp shape[MAX_DIMS]
    cdef int64_t strides[4][MAX_DIMS]
    ndim = cnp.PyArray_NDIM(like)
    if one_run:
        out = fresh(ndim, cnp.PyArray_DIMS(like), cnp.NPY_FLOAT32, False)
        if ran_alike(row, out, operands, 0):
            return out
    cdef Call call = record()
    call.row, call.scalars, call.native = row, scalars, True
    memset(&call.c, 0, sizeof(mg_call))
    call.c.kernel = row.index
    call.fill_scalars()
    if not one_run:
        for axis in range(ndim):
            shape[axis] = cnp.PyArray_DIM(like, axis)
        for slot in range(1, count):
            if isinstance(operands[slot - 1], cnp.ndarray):
                a = <Array>operands[slot - 1]
                lead = ndim - cnp.PyArray_NDIM(a)
                for axis in range(lead, ndim):
                    if shape[axis] == 1:
                        shape[axis] = cnp.PyArray_DIM(a, axis - lead)
                    elif cnp.PyArray_DIM(a, axis - lead) != shape[axis] and cnp.PyArray_DIM(a, axis - lead) != 1:
                        return None
        out = fresh(ndim, shape, cnp.NPY_FLOAT32,
                    cnp.PyArray_IS_F_CONTIGUOUS(like) and not cnp.PyArray_IS_C_CONTIGUOUS(like))
        call.broadcast_strides(out, out, strides[0], 0)
    call.c.work = cnp.PyArray_SIZE(out)
    if call.c.work == 0:
        return out
    call.point(0, out)
    if one_run:
        call.run_on()
    for slot in range(1, count):
        x = operands[slot - 1]
        if isinstance(x, cnp.ndarray):
            call.point(slot, <Array>x)
            if not one_run and not call.broadcast_strides(<Array>x, out, strides[slot], 0):
                return None
        else:
            call.point_constant(slot, x)
            call.c.stride[slot][3] = 0
            memset(strides[slot], 0, ndim * sizeof(int64_t))
    if not one_run and not (call.merge(ndim, out, strides, 0, 0, MG_MAX_AXES) and call.inner_runs()):
        return None
    call.run()
    release(call)
    return out


@cython.freelist(64)
@cython.no_gc
@cython.final
cdef class Form:
    """The shape and dtype of an array, kept without it."""

    cdef object type
    cdef tuple wide  # the shape, where it has more than four axes
    cdef int ndim
    cdef cnp.npy_intp[4] sizes

    @property
    def dtype(self):
        return self.type

    @property
    def shape(self):
        return tuple([self.sizes[axis] for axis in range(self.ndim)]) if self.wide is None else self.wide

    def __iter__(self):
        return iter((self.shape, self.type))


cdef Py_ssize_t orders = 0


cpdef Py_ssize_t next_order():
    global orders
    orders += 1
    return orders


cpdef Py_ssize_t address(x):
    return <Py_ssize_t><PyObject *>x


cpdef object called(function, list first, tuple rest):
    cdef PyObject *arguments[16]
    cdef Py_ssize_t i, n = len(first), more = len(rest)
    if n + more > 16:
        return function(*first, *rest)
    for i in range(n):
        arguments[i] = item_of(first, i)
    for i in range(more):
        arguments[n + i] = part_of(rest, i)
    return PyObject_Vectorcall(function, arguments, n + more, NULL)


cpdef object chosen(function, tuple places, g, needs, tuple attributes, list saved):
    cdef PyObject *arguments[16]
    cdef Py_ssize_t i, k, n = len(places), between = len(attributes)
    if n > 16:
        return helpers["chosen"](function, places, g, needs, attributes, saved)
    for i in range(n):
        k = <object>part_of(places, i)
        if k < 2:
            arguments[i] = <PyObject *>(needs if k else g)
        elif k - 2 < between:
            arguments[i] = part_of(attributes, k - 2)
        elif k - 2 - between < len(saved):
            arguments[i] = item_of(saved, k - 2 - between)
        else:
            arguments[i] = <PyObject *>None
    return PyObject_Vectorcall(function, arguments, n, NULL)


cpdef object form_of(x):
    cdef Array a = x
    cdef Form form = Form.__new__(Form)
    cdef int axis
    form.type = <object>cnp.PyArray_DESCR(a)
    form.ndim = cnp.PyArray_NDIM(a)
    if form.ndim > 4:
        form.wide = x.shape
    else:
        for axis in range(form.ndim):
            form.sizes[axis] = cnp.PyArray_DIM(a, axis)
    return form


cpdef bint has_form(x, form) except -1:
    cdef Array a = x
    cdef Form wanted
    cdef int axis
    if not isinstance(form, Form):
        return same_shape(a, form) and (
            cnp.PyArray_DESCR(a) is cnp.PyArray_DESCR(<Array>form) or a.dtype == form.dtype)
    wanted = <Form>form
    if cnp.PyArray_NDIM(a) != wanted.ndim or (<object>cnp.PyArray_DESCR(a) is not wanted.type and a.dtype != wanted.type):
        return False
    if wanted.wide is not None:
        return x.shape == wanted.wide
    for axis in range(wanted.ndim):
        if cnp.PyArray_DIM(a, axis) != wanted.sizes[axis]:
            return False
    return True


cpdef bint same_order(x, like) except -1:
    cdef Array a = x, b = like
    cdef int axis
    for axis in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_STRIDE(a, axis) != cnp.PyArray_STRIDE(b, axis):
            return False
    return True


cpdef bint is_floating(x) except -1:
    cdef int number = cnp.PyArray_TYPE(<Array?>x)
    return cnp.NPY_FLOAT32 <= number <= cnp.NPY_LONGDOUBLE or number == cnp.NPY_FLOAT16


cpdef bint unshared(list tensors, Py_ssize_t i) except -1:
    cdef object data
    cdef PyObject *base
    if item_of(tensors, i).ob_refcnt > 1:
        return False
    data = (<object>item_of(tensors, i)).data  # a second reference
    base = cnp.PyArray_BASE(<Array?>data)
    if (<PyObject *>data).ob_refcnt > 2 or not cnp.PyArray_ISWRITEABLE(<Array>data):
        return False
    return base == NULL or (cnp.PyArray_CheckExact(<object>base) and base.ob_refcnt == 1
                            and cnp.PyArray_BASE(<Array>base) == NULL
                            and cnp.PyArray_NBYTES(<Array>base) == cnp.PyArray_NBYTES(<Array>data))


def empty_array(tuple shape not None, cnp.dtype dtype not None, order="C"):
    cdef cnp.npy_intp[MAX_DIMS] sizes
    cdef int axis, ndim = len(shape)
    if ndim > MAX_DIMS or dtype.num > cnp.NPY_LONGDOUBLE or dtype.byteorder == b">":
        return np.empty(shape, dtype, order)
    for axis in range(ndim):
        sizes[axis] = shape[axis]
    return fresh(ndim, sizes, dtype.num, order == "F")


def as_array(x):
    return x if isinstance(x, cnp.ndarray) else helpers["as_array"](x)


def matmul(a, b):
    cdef Array out
    if unseen() and plain(a) and plain(b) and cnp.PyArray_NDIM(<Array>a) == cnp.PyArray_NDIM(<Array>b) == 2:
        if cnp.PyArray_DIM(<Array>a, 1) == cnp.PyArray_DIM(<Array>b, 0):
            out = empty(2, cnp.PyArray_DIM(<Array>a, 0), cnp.PyArray_DIM(<Array>b, 1))
            if ran_product(matmul_row, out, <Array>a, <Array>b) or ran(matmul_row, (out, a, b), ()):
                return out
    return helpers["matmul"](a, b)


def linear(x, weight, bias=None, bint relu=False):
    cdef Array out
    if unseen() and plain(x) and plain(weight) and plain(bias):
        if cnp.PyArray_NDIM(<Array>x) == cnp.PyArray_NDIM(<Array>weight) == 2 and cnp.PyArray_NDIM(<Array>bias) == 1:
            out = empty(2, cnp.PyArray_DIM(<Array>x, 0), cnp.PyArray_DIM(<Array>weight, 0))
            if ran_product(linear_row, out, <Array>x, <Array>weight, <Array>bias, relu):
                return out
            if (cnp.PyArray_DIM(<Array>x, 1) == cnp.PyArray_DIM(<Array>weight, 1)
                    and cnp.PyArray_DIM(<Array>bias, 0) == cnp.PyArray_DIM(<Array>weight, 0)
                    and ran(linear_row, (out, x, weight, bias), (1.0,) if relu else (0.0,))):
                return out
    return helpers["linear"](x, weight, bias, relu)


def linear_grad(dy, x, weight, wanted):
    cdef Array g, a, dx = None, dweight = None, dbias = None
    cdef bint to_x = wanted[0], to_weight = wanted[1], to_bias = len(wanted) > 2 and wanted[2]
    if not (unseen() and plain(dy) and cnp.PyArray_NDIM(<Array>dy) == 2
            and (not to_x or (plain(weight) and cnp.PyArray_NDIM(<Array>weight) == 2))
            and (not to_weight or (plain(x) and cnp.PyArray_NDIM(<Array>x) == 2))):
        return helpers["linear_grad"](dy, x, weight, wanted)
    g = <Array>dy
    if to_x:
        if cnp.PyArray_DIM(g, 1) == cnp.PyArray_DIM(<Array>weight, 0):
            dx = empty(2, cnp.PyArray_DIM(g, 0), cnp.PyArray_DIM(<Array>weight, 1))
            if not ran_product(matmul_row, dx, g, <Array>weight) and not ran(matmul_row, (dx, g, weight), ()):
                dx = None
        if dx is None:
            dx = matmul(g, weight)
    if to_weight:
        a = <Array>x
        dweight = empty(2, cnp.PyArray_DIM(g, 1), cnp.PyArray_DIM(a, 1), True)
        if not ran_weight_grad(dweight, a, g) and not ran(matmul_row, (dweight.T, a.T, g), ()):
            return helpers["linear_grad"](dy, x, weight, wanted)
    if to_bias:
        dbias = empty(1, cnp.PyArray_DIM(g, 1), 0)
        if not ran_column_sums(dbias, g):
            dbias = reduce("sum", g, 0)
    return dx, dweight, dbias


def reduce(name, x, axis=None, keepdims=False):
    cdef Array out, kept
    cdef cnp.npy_intp[MAX_DIMS] wide, narrow
    cdef int i, ndim, left = 0
    cdef bint[MAX_DIMS] reduced
    if unseen() and plain(x) and cnp.PyArray_SIZE(<Array>x) > 0:
        ndim = cnp.PyArray_NDIM(<Array>x)
        if axis is None or marked(axis, ndim, reduced):
            for i in range(ndim):
                wide[i] = 1 if axis is None or reduced[i] else cnp.PyArray_DIM(<Array>x, i)
                if keepdims or not (axis is None or reduced[i]):
                    narrow[left] = wide[i]
                    left += 1
            out = fresh(left, narrow, cnp.NPY_FLOAT32, False)
            kept = out if keepdims else cnp.PyArray_SimpleNewFromData(ndim, wide, cnp.NPY_FLOAT32, cnp.PyArray_DATA(out))
            if ran(row_of(name), (kept, x), ()):
                return out
    return helpers["reduce"](name, x, axis, keepdims)


cdef bint marked(axis, int ndim, bint *reduced) except -1:
    """Whether ``axis`` is an axis, or some; they are noted."""
    cdef int i, a
    for i in range(ndim):
        reduced[i] = False
    if type(axis) is not tuple:
        axis = (axis,)
    for one in <tuple>axis:
        if type(one) is not int or not -ndim <= one < ndim:
            return False
        a = one
        a += ndim if a < 0 else 0
        if reduced[a]:
            return False
        reduced[a] = True
    return True


def rows(name, *arrays):
    cdef Array x, out
    cdef Row row = row_of(name)
    if unseen() and row.family == ROWS and len(arrays) > 0 and plain(arrays[0]):
        x = <Array>arrays[0]
        if cnp.PyArray_NDIM(x) == 2 and cnp.PyArray_SIZE(x) > 0 and len(arrays) == row.arrays - 1:
            for a in arrays:
                if not plain(a) or not same_shape(<Array>a, x):
                    return helpers["rows"](name, *arrays)
            out = empty(2 if row.matrices & 1 else 1, cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1))
            if ran(row, (out, *arrays), ()):
                return out
    return helpers["rows"](name, *arrays)


cdef mg_call losses  # of ``cross_entropy`` and its gradient
losses.size[:] = [1, 1, 1, 1]
losses.itemsize[:] = [4, 4, 4, 8]
cdef float each_row[FEW]  # a number for each of so few rows
cdef mg_call average  # of the losses
average.arrays, average.kernel = 2, mean_row.index
average.size[:] = [1, 1, 1, 1]
average.itemsize[:] = [4, 4, 4, 4]
average.stride[1][3] = 1


cdef inline bint classified(x, labels) noexcept:
    """Whether x is (N, C) and labels are (N,), plain and few."""
    if not plain(x) or not isinstance(labels, cnp.ndarray) or use_reference or not unseen():
        return False
    return (cnp.PyArray_NDIM(<Array>x) == 2 and cnp.PyArray_IS_C_CONTIGUOUS(<Array>x)
            and cnp.PyArray_NDIM(<Array>labels) == 1 and 0 < cnp.PyArray_SIZE(<Array>x) <= FEW
            and fits(<Array>labels, b"i") and cnp.PyArray_IS_C_CONTIGUOUS(<Array>labels)
            and cnp.PyArray_ISALIGNED(<Array>labels) and cnp.PyArray_ISNOTSWAPPED(<Array>labels)
            and cnp.PyArray_DIM(<Array>x, 0) == cnp.PyArray_DIM(<Array>labels, 0))


def cross_entropy(x, labels, bint mean=True):
    cdef Array out
    cdef int64_t n
    if classified(x, labels):
        n = cnp.PyArray_DIM(<Array>x, 0)
        out = empty(not mean, n, 0)
        losses.kernel, losses.arrays, losses.work = losses_row.index, 3, cnp.PyArray_SIZE(<Array>x)
        losses.size[2], losses.size[3] = n, cnp.PyArray_DIM(<Array>x, 1)
        losses.array[0], losses.array[1] = each_row if mean else cnp.PyArray_DATA(out), cnp.PyArray_DATA(<Array>x)
        losses.array[2] = cnp.PyArray_DATA(<Array>labels)
        if mg_run(&losses) == MG_OK:
            if not mean:
                return out
            average.size[3] = average.work = n
            average.array[0], average.array[1] = cnp.PyArray_DATA(out), each_row
            if mg_run(&average) == MG_OK:
                return out
    return helpers["cross_entropy"](x, labels, mean)


def cross_entropy_grad(dy, x, labels):
    cdef Array out
    cdef int64_t n, i
    cdef float share
    cdef void *each = NULL
    if plain(dy) and classified(x, labels):
        n = cnp.PyArray_DIM(<Array>x, 0)
        if cnp.PyArray_NDIM(<Array>dy) == 0:
            share = (<float *>cnp.PyArray_DATA(<Array>dy))[0] / <float>n
            for i in range(n):
                each_row[i] = share
            each = each_row
        elif (cnp.PyArray_NDIM(<Array>dy) == 1 and cnp.PyArray_DIM(<Array>dy, 0) == n
                and cnp.PyArray_IS_C_CONTIGUOUS(<Array>dy)):
            each = cnp.PyArray_DATA(<Array>dy)
        if each != NULL:
            out = empty(2, n, cnp.PyArray_DIM(<Array>x, 1))
            losses.kernel, losses.arrays, losses.work = losses_grad_row.index, 4, cnp.PyArray_SIZE(<Array>x)
            losses.size[2], losses.size[3] = n, cnp.PyArray_DIM(<Array>x, 1)
            losses.array[0], losses.array[1] = cnp.PyArray_DATA(out), each
            losses.array[2], losses.array[3] = cnp.PyArray_DATA(<Array>x), cnp.PyArray_DATA(<Array>labels)
            if mg_run(&losses) == MG_OK:
                return out
    return helpers["cross_entropy_grad"](dy, x, labels)


cdef inline bint same_shape(Array a, Array b) noexcept:
    cdef int axis, ndim = cnp.PyArray_NDIM(a)
    if ndim != cnp.PyArray_NDIM(b):
        return False
    for axis in range(ndim):
        if cnp.PyArray_DIM(a, axis) != cnp.PyArray_DIM(b, axis):
            return False
    return True


def describe(array):
    return f"shape {array.shape} with strides {array.strides}"


cdef int note_units(Array a, int64_t *axis) except -1:
    """Length and stride in elements of the first axis of a dense array; the length is 0 where there are no units."""
    cdef bint several = cnp.PyArray_NDIM(a) > 1 and cnp.PyArray_SIZE(a) > 0
    axis[0] = cnp.PyArray_DIM(a, 0) if several else 0
    axis[1] = cnp.PyArray_STRIDE(a, 0) // cnp.PyArray_ITEMSIZE(a) if axis[0] > 1 else cnp.PyArray_SIZE(a)
    return 0


cdef bint same_layout(Array a, Array b) noexcept:
    cdef int axis
    if not same_shape(a, b):
        return False
    if cnp.PyArray_SIZE(a) == 0:
        return True
    if cnp.PyArray_IS_C_CONTIGUOUS(a) and cnp.PyArray_IS_C_CONTIGUOUS(b):
        return cnp.PyArray_ISALIGNED(a) and cnp.PyArray_ISNOTSWAPPED(a)
    for axis in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIM(a, axis) > 1 and cnp.PyArray_STRIDE(a, axis) != cnp.PyArray_STRIDE(b, axis):
            return False
    return cnp.PyArray_ISALIGNED(a) and cnp.PyArray_ISNOTSWAPPED(a) and dense(a)


cdef bint dense(Array a) noexcept:
    """Whether the elements fill their memory, each byte once, in whatever order of axes."""
    cdef int64_t span = cnp.PyArray_ITEMSIZE(a)  # of the axes found so far, innermost first
    cdef int found, axis
    for found in range(cnp.PyArray_NDIM(a)):
        for axis in range(cnp.PyArray_NDIM(a)):
            if cnp.PyArray_DIM(a, axis) > 1 and cnp.PyArray_STRIDE(a, axis) == span:
                span *= cnp.PyArray_DIM(a, axis)
                break
    return span == cnp.PyArray_SIZE(a) * cnp.PyArray_ITEMSIZE(a)
