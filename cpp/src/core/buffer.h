// Owned, 64-byte aligned memory. Large buffers come from the operating system as zero pages that
// cost nothing until they are touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

namespace foresight {

class Buffer {
 public:
  Buffer() = default;
  // Zero-filled. Throws std::bad_alloc when the memory cannot be had.
  explicit Buffer(std::size_t num_bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        num_bytes_(std::exchange(other.num_bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(num_bytes_, other.num_bytes_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() { return data_; }
  const void* data() const { return data_; }
  std::size_t size() const { return num_bytes_; }

  // For buffers that will be written whole, such as packed weights: fewer TLB misses. Not for
  // sparsely used ones, such as a cache: each touch would commit a huge page. Call before writing.
  void prefer_huge_pages();

  template <typename T>
  T* as() {
    static_assert(std::is_trivially_copyable_v<T>);
    return static_cast<T*>(data_);
  }
  template <typename T>
  const T* as() const {
    static_assert(std::is_trivially_copyable_v<T>);
    return static_cast<const T*>(data_);
  }

 private:
  void* data_ = nullptr;
  std::size_t num_bytes_ = 0;
};

// Scratch that only grows; its content is undefined after each reserve().
class Scratch {
 public:
  template <typename T>
  T* reserve(std::size_t count) {
    if (buffer_.size() < count * sizeof(T))
      buffer_ = Buffer(count * sizeof(T) + count * sizeof(T) / 4);
    return buffer_.as<T>();
  }
  // What reserve() gave last.
  template <typename T>
  T* data() {
    return buffer_.as<T>();
  }
  std::size_t size() const { return buffer_.size(); }

 private:
  Buffer buffer_;
};

}  // namespace foresight
