// The core's exceptions as Python's.
#include "bindings/bindings.h"
#include "core/error.h"

namespace py = pybind11;

namespace foresight {

namespace {

void raise(const char* class_name, const char* text) {
  const py::object type = py::module_::import("foresight.errors").attr(class_name);
  PyErr_SetString(type.ptr(), text);
}

}  // namespace

void bind_errors(py::module_&) {
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const ValueError& error) {
      PyErr_SetString(PyExc_ValueError, error.what());
    } catch (const NotImplementedError& error) {
      PyErr_SetString(PyExc_NotImplementedError, error.what());
    } catch (const CacheFullError& error) {
      raise("CacheFullError", error.what());
    } catch (const InternalError& error) {
      raise("InternalError", error.what());
    }
  });
}

}  // namespace foresight
