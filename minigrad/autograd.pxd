cimport cython

from .operations cimport Operation
from .tensor cimport Storage, Tensor, wrap


cdef class Node:
    cdef object __weakref__
    cdef public Operation op
    cdef public tuple parents
    cdef public tuple indices
    cdef public tuple attributes
    cdef public tuple names
    cdef public tuple saved
    cdef public tuple versions
    cdef public tuple outputs
    cdef public object order
    cdef public str source


@cython.locals(tensor=Tensor, arrays=list, tensors=list, results=tuple, tracked=cython.longlong, node=Node)
cpdef object apply(Operation op, tuple inputs, tuple attributes)

cdef object _operand(Operation op, object x)

@cython.locals(parents=list, indices=list, later=cython.bint, saved=list, versions=list, node=Node, tensor=Tensor,
               i=cython.int)
cdef Node _record(Operation op, tuple inputs, list arrays, tuple attributes, tuple results, object tracked)

@cython.locals(storage=Storage, tensor=Tensor)
cdef object _watch(list versions, str name, object x)

@cython.locals(nodes=list, node=Node, pending=dict, owned=set, arrived=dict, cotangents=list, gradients=list,
               i=cython.int, index=cython.int)
cpdef dict sweep(object roots, object seeds, object targets, bint retain_graph, bint create_graph)

@cython.locals(found=set, stack=list, node=Node)
cdef list _reachable(list places)

@cython.locals(slots=list)
cdef object _accumulate(dict pending, set owned, object place, int index, object g, bint create_graph)

@cython.locals(op=Operation, known=dict, gradients=list, i=cython.int)
cdef list _step(Node node, list cotangents, object wanted, object targets, bint create_graph)

@cython.locals(i=cython.int)
cdef object _revived(Node node, str name, object value, bint create_graph)

cdef object _placed(Node node, int i, object value, bint create_graph)

@cython.locals(tensor=Tensor)
cdef object _conform(Operation op, object g, object parent, int index)

cdef dict _run(object roots, object seeds, object targets, object retain_graph, bint create_graph)

cdef tuple _edge(Tensor tensor)

cdef Tensor _seed(str caller, object tensor, object gradient)

cdef object _deposit(Tensor leaf, Tensor g, bint owned, bint create_graph)

cdef bint _shares(object view, object array)

cdef object _check_saved(Node node)
