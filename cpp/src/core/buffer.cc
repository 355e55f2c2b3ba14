#include "core/buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace foresight {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kMappedFrom = std::size_t{1} << 20;

bool is_mapped(std::size_t num_bytes) { return num_bytes >= kMappedFrom; }

void* map_zero_pages(std::size_t num_bytes) {
  void* data = mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

void* allocate_zeroed(std::size_t num_bytes) {
  const std::size_t rounded = (num_bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* data = std::aligned_alloc(kAlignment, rounded);
  if (data != nullptr) std::memset(data, 0, rounded);
  return data;
}

}  // namespace

Buffer::Buffer(std::size_t num_bytes) : num_bytes_(num_bytes) {
  if (num_bytes == 0) return;
  data_ = is_mapped(num_bytes) ? map_zero_pages(num_bytes) : allocate_zeroed(num_bytes);
  if (data_ == nullptr) throw std::bad_alloc();
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  if (is_mapped(num_bytes_)) {
    munmap(data_, num_bytes_);
  } else {
    std::free(data_);
  }
}

void Buffer::prefer_huge_pages() {
  // Advice only: a kernel without transparent huge pages says no, and nothing is lost.
  if (is_mapped(num_bytes_)) madvise(data_, num_bytes_, MADV_HUGEPAGE);
}

}  // namespace foresight
