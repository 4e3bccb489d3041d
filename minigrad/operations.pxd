cimport cython

from .tensor cimport Table


cdef class Recipe:
    cdef public tuple names
    cdef public tuple saves
    cdef public tuple takes
    cdef public tuple joint
    cdef public bint direct
    cdef public tuple needs


cdef class Operation:
    cdef dict __dict__
    cdef public object forward
    cdef public object quick
    cdef public str name
    cdef public object joint
    cdef public tuple outputs
    cdef public object domain
    cdef public tuple inputs
    cdef public int required
    cdef public bint optional
    cdef public bint single
    cdef public tuple attributes
    cdef public tuple defaults
    cdef public tuple rules
    cdef public tuple rule_names
    cdef public tuple joint_names
    cdef public dict sources
    cdef public dict uses
    cdef public dict recipes
    cdef public bint broadcasts
    cdef public bint view
    cdef public bint variadic
    cdef public int least
    cdef public bint differentiable

    cpdef Recipe recipe(self, object tracked)


@cython.locals(table=Table)
cdef object _apply(Operation op, tuple inputs, tuple attributes)
