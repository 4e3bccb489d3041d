cimport cython

from .kernels._binding cimport address

cdef class Table:
    cdef dict __dict__
    cdef public object apply

cdef class Storage:
    cdef public str recorded
    cdef public Py_ssize_t version
    cdef public str writer
    cdef public str source

    cpdef object written(self, str writer, str source=*)

@cython.freelist(64)
cdef class Tensor:
    cdef object __weakref__
    cdef public object data
    cdef public object node
    cdef public object grad
    cdef public Py_ssize_t index
    cdef public bint _requires_grad
    cdef public object _storage

    cpdef Storage storage(self)

@cython.locals(t=Tensor)
cpdef Tensor wrap(object data, object node=*, Py_ssize_t index=*)
