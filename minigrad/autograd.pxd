cimport cython

from .operations cimport Operation, Recipe
from .tensor cimport Storage, Tensor, wrap


@cython.freelist(64)
cdef class Node:
    cdef object __weakref__
    cdef public Operation op
    cdef public tuple parents
    cdef public tuple indices
    cdef public tuple attributes
    cdef public Recipe recipe
    cdef public list saved
    cdef public list versions
    cdef public list outputs
    cdef public object order
    cdef public str source


@cython.locals(tensor=Tensor, y=Tensor, arrays=list, tracked=cython.longlong, node=Node, mode=cython.int)
cpdef object apply(Operation op, tuple inputs, tuple attributes)

@cython.locals(tensors=list, results=tuple, node=Node, mode=cython.int)
cdef object _apply_rest(Operation op, tuple inputs, list arrays, tuple attributes, object result, object tracked)

@cython.locals(tensor=Tensor)
cdef object _share(Tensor y, object x)

cdef object _operand(Operation op, object x)

@cython.locals(parents=list, later=cython.bint, saved=list, versions=list, node=Node, tensor=Tensor, recipe=Recipe,
               i=cython.int, kind=cython.int)
cdef Node _record(Operation op, tuple inputs, list arrays, tuple attributes, tuple results, object tracked, int mode)

@cython.locals(storage=Storage, tensor=Tensor)
cdef object _watch(list versions, str name, object x)

@cython.locals(nodes=list, node=Node, pending=dict, arrived=dict, cotangents=list, gradients=list, parents=tuple,
               i=cython.int, index=cython.int)
cpdef tuple sweep(list roots, list seeds, object targets, bint retain_graph, bint create_graph)

@cython.locals(found=dict, stack=list, node=Node, other=Node)
cpdef list reachable(list places)

@cython.locals(slots=list, node=Node)
cdef object _accumulate(dict pending, object place, int index, object g, bint create_graph)

cdef bint _unshared(list slots, int index)

@cython.locals(op=Operation, recipe=Recipe, parents=tuple, saved=list, needs=list, known=list, gradients=list, i=cython.int, index=cython.int)
cdef list _step(Node node, list cotangents, object wanted, object targets, bint create_graph)

@cython.locals(kind=cython.int, i=cython.int)
cdef object _revived(Node node, object source, object value, bint create_graph)

cdef object _placed(Node node, int i, object value, bint create_graph)

@cython.locals(node=Node, leaf=Tensor, gradient=Tensor, shape=tuple, found=tuple)
cdef Tensor _conform(Operation op, object g, object parent, int index)

cdef tuple _run(list roots, list seeds, object targets, object retain_graph, bint create_graph)

cdef tuple _edge(Tensor tensor)

cdef Tensor _seed(str caller, object tensor, object gradient)

@cython.locals(g=Tensor, before=Tensor, alone=cython.bint)
cdef object _deposit(Tensor leaf, list slots, bint create_graph)

@cython.locals(tensor=Tensor, storage=Storage)
cpdef object written(list tensors, str writer)

cdef bint _shares(object view, object array)

cdef object _check_saved(Node node)
