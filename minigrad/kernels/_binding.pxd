"""What the compiled engine calls as C functions; to Python they are the helpers of launch.py."""

cpdef object form_of(x)
cpdef bint has_form(x, form) except -1
cpdef bint same_order(x, like) except -1
cpdef bint is_floating(x) except -1
cpdef bint unshared(list tensors, Py_ssize_t i) except -1
cpdef Py_ssize_t next_order()
cpdef object called(function, list first, tuple rest)
cpdef object chosen(function, tuple places, g, needs, tuple attributes, list saved)
cpdef Py_ssize_t address(x)
