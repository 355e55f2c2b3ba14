// A Python object owned by C++ state that may be destroyed without the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <utility>

namespace foresight {

class GilObject {
 public:
  GilObject() = default;
  explicit GilObject(pybind11::object object) : object_(std::move(object)) {}
  ~GilObject() { reset(); }
  GilObject(GilObject&& other) noexcept : object_(std::move(other.object_)) {}
  GilObject& operator=(GilObject&& other) noexcept {
    if (this != &other) {
      reset();
      object_ = std::move(other.object_);
    }
    return *this;
  }
  GilObject(const GilObject&) = delete;
  GilObject& operator=(const GilObject&) = delete;

  // With the GIL held.
  const pybind11::object& get() const { return object_; }
  explicit operator bool() const { return static_cast<bool>(object_); }

 private:
  void reset() {
    if (!object_) return;
    const pybind11::gil_scoped_acquire gil;
    object_ = pybind11::object();
  }

  pybind11::object object_;
};

}  // namespace foresight
