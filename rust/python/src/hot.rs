//! The five calls that are made millions of times a second, as plain C functions.
//!
//! PyO3's way into a method takes arguments apart in a general manner, which costs as much as an increment. These know
//! how few arguments they have, and the interpreter calls functions of this kind (method descriptors of `METH_FASTCALL`
//! and `METH_O`) without a detour. What they do is in `counters`.

use crate::amounts::Total;
use crate::counters::{Counter, Counters};
use crate::errors::internal;
use crdtstats_journal::Side;
use pyo3::PyClass;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::PyType;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

type Arg<'a> = &'a Bound<'a, PyAny>;

/// Runs a call and gives its result as the interpreter wants it: an object, or null with the error set.
#[inline]
fn answer(call: impl FnOnce(Python<'_>) -> PyResult<*mut PyObject>) -> *mut PyObject {
    // SAFETY: the interpreter calls these functions with a thread that is attached to it.
    let py = unsafe { Python::assume_attached() };
    match catch_unwind(AssertUnwindSafe(|| call(py))) {
        Ok(Ok(object)) => object,
        Ok(Err(error)) => fail(error),
        Err(_) => Python::attach(|py| fail(internal(py, "a call into the store panicked"))),
    }
}

#[cold]
fn fail(error: PyErr) -> *mut PyObject {
    Python::attach(|py| error.restore(py));
    null_mut()
}

#[inline]
fn none(_py: Python<'_>) -> *mut PyObject {
    // SAFETY: None is always alive.
    unsafe {
        let none = ffi::Py_None();
        ffi::Py_INCREF(none);
        none
    }
}

/// `self` of a method; the descriptor has checked its type.
///
/// # Safety
/// `this` is a living object of the class `T`, or of one below it.
#[inline]
unsafe fn contents<'a, T: PyClass<Frozen = True> + Sync>(
    py: Python<'a>,
    this: &'a *mut PyObject,
) -> &'a T {
    // SAFETY: the caller's promise; a frozen class gives out references freely.
    unsafe { Bound::ref_from_ptr(py, this).cast_unchecked::<T>().get() }
}

/// The arguments of a call that takes `key` and an optional `n`.
///
/// # Safety
/// `args` leads to `count` living objects.
#[inline]
unsafe fn arguments<'a>(
    py: Python<'a>,
    args: &'a *mut *mut PyObject,
    count: isize,
    keys: isize,
) -> PyResult<(Option<Arg<'a>>, Option<Arg<'a>>)> {
    // SAFETY: the caller's promise, and the count is looked at.
    let at = |n: isize| unsafe { Bound::ref_from_ptr(py, &*args.offset(n)) };
    let amount = |n: isize| Some(at(n)).filter(|n| !n.is_none());
    match count - keys {
        0 => Ok(((keys == 1).then(|| at(0)), None)),
        1 => Ok(((keys == 1).then(|| at(0)), amount(keys))),
        _ => Err(wrong_count(count, keys)),
    }
}

#[cold]
fn wrong_count(count: isize, keys: isize) -> PyErr {
    PyTypeError::new_err(format!(
        "takes {keys} or {} arguments, not {count}",
        keys + 1
    ))
}

/// Count on a key of a store.
#[inline]
fn count(
    this: *mut PyObject,
    args: *mut *mut PyObject,
    count: ffi::Py_ssize_t,
    side: Side,
) -> *mut PyObject {
    answer(|py| {
        // SAFETY: what the interpreter passes to a method of this kind.
        let (counters, (key, n)) = unsafe {
            let counters = contents::<Counters>(py, &this);
            (counters, arguments(py, &args, count, 1)?)
        };
        if let Some(key) = key {
            counters.count(key, n, side)?;
        }
        Ok(none(py))
    })
}

/// Count on a resolved key.
#[inline]
fn count_resolved(
    this: *mut PyObject,
    args: *mut *mut PyObject,
    count: ffi::Py_ssize_t,
    side: Side,
) -> *mut PyObject {
    answer(|py| {
        // SAFETY: what the interpreter passes to a method of this kind.
        let (counter, (_, n)) = unsafe {
            let counter = contents::<Counter>(py, &this);
            (counter, arguments(py, &args, count, 0)?)
        };
        counter.count(py, n, side)?;
        Ok(none(py))
    })
}

unsafe extern "C" fn increment(
    this: *mut PyObject,
    args: *mut *mut PyObject,
    n: ffi::Py_ssize_t,
) -> *mut PyObject {
    count(this, args, n, Side::Incr)
}

unsafe extern "C" fn decrement(
    this: *mut PyObject,
    args: *mut *mut PyObject,
    n: ffi::Py_ssize_t,
) -> *mut PyObject {
    count(this, args, n, Side::Decr)
}

unsafe extern "C" fn inc(
    this: *mut PyObject,
    args: *mut *mut PyObject,
    n: ffi::Py_ssize_t,
) -> *mut PyObject {
    count_resolved(this, args, n, Side::Incr)
}

unsafe extern "C" fn dec(
    this: *mut PyObject,
    args: *mut *mut PyObject,
    n: ffi::Py_ssize_t,
) -> *mut PyObject {
    count_resolved(this, args, n, Side::Decr)
}

unsafe extern "C" fn get(this: *mut PyObject, key: *mut PyObject) -> *mut PyObject {
    answer(|py| {
        // SAFETY: what the interpreter passes to a method of this kind.
        let (counters, key) = unsafe {
            let counters = contents::<Counters>(py, &this);
            (counters, Bound::ref_from_ptr(py, &key))
        };
        match counters.get_seen(key) {
            // SAFETY: attached.
            Some(small) => Ok(unsafe { ffi::PyLong_FromLongLong(small) }),
            None => Ok(Total(counters.get(key)?).into_pyobject(py)?.into_ptr()),
        }
    })
}

struct Hot {
    name: &'static CStr,
    signature: &'static CStr,
    function: ffi::PyMethodDefPointer,
    flags: i32,
}

const fn fast(
    name: &'static CStr,
    signature: &'static CStr,
    function: ffi::PyCFunctionFast,
) -> Hot {
    Hot {
        name,
        signature,
        function: ffi::PyMethodDefPointer {
            PyCFunctionFast: function,
        },
        flags: ffi::METH_FASTCALL,
    }
}

const COUNTERS: [Hot; 3] = [
    fast(
        c"increment",
        c"increment($self, key, n=None, /)\n--\n\n",
        increment,
    ),
    fast(
        c"decrement",
        c"decrement($self, key, n=None, /)\n--\n\n",
        decrement,
    ),
    Hot {
        name: c"get",
        signature: c"get($self, key, /)\n--\n\n",
        function: ffi::PyMethodDefPointer { PyCFunction: get },
        flags: ffi::METH_O,
    },
];
const COUNTER: [Hot; 2] = [
    fast(c"inc", c"inc($self, n=None, /)\n--\n\n", inc),
    fast(c"dec", c"dec($self, n=None, /)\n--\n\n", dec),
];

fn add(class: &Bound<'_, PyType>, methods: &[Hot]) -> PyResult<()> {
    for hot in methods {
        // Lives as long as the class, which is for ever.
        let definition = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: hot.name.as_ptr(),
            ml_meth: hot.function,
            ml_flags: hot.flags,
            ml_doc: hot.signature.as_ptr(),
        }));
        // SAFETY: the class lives, the definition is never freed, and the function is of the kind that the flags say.
        let method = unsafe {
            let method = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition);
            Bound::from_owned_ptr_or_err(class.py(), method)?
        };
        class.setattr(hot.name.to_string_lossy(), method)?;
    }
    Ok(())
}

/// Give a class below `Counters` methods of its own: the interpreter's shortest way to a method is for objects of
/// the very class that it was made for.
pub fn inherit(class: &Bound<'_, PyType>) -> PyResult<()> {
    let counters = class.py().get_type::<Counters>();
    let inherits = |hot: &Hot| -> PyResult<bool> {
        let name = hot.name.to_string_lossy();
        Ok(class
            .getattr(name.as_ref())?
            .is(counters.getattr(name.as_ref())?))
    };
    for hot in &COUNTERS {
        if inherits(hot)? {
            add(class, std::slice::from_ref(hot))?;
        }
    }
    Ok(())
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    add(&m.py().get_type::<Counters>(), &COUNTERS)?;
    add(&m.py().get_type::<Counter>(), &COUNTER)
}
