#include "trace/json_lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <exception>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "trace/json.h"

namespace foresight {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{64} << 10;

std::string message_of(int error) { return std::generic_category().message(error); }

}  // namespace

JsonLinesSink::JsonLinesSink(std::string path) : path_(std::move(path)), owner_(getpid()) {
  // O_APPEND: two sinks on one file interleave blocks of lines instead of overwriting each other.
  file_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) {
    throw ValueError(concat("trace file \"", path_, "\": ", message_of(errno),
                            "; expected a path that can be written to"));
  }
}

JsonLinesSink::~JsonLinesSink() {
  try {
    flush();
  } catch (const std::exception&) {
    // A destructor has nobody to tell; whoever needs to know calls flush().
  }
  close(file_);
}

void JsonLinesSink::write(const TraceEvent& event) {
  if (getpid() != owner_) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  append_json(block_, event);
  block_ += '\n';
  if (block_.size() >= kBlockBytes) flush_locked();
}

void JsonLinesSink::flush() {
  if (getpid() != owner_) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  flush_locked();
}

void JsonLinesSink::flush_locked() {
  // Taken out first: after an error the block is given up rather than written half a second time.
  const std::string block = std::exchange(block_, {});
  std::size_t written = 0;
  while (written < block.size()) {
    const ssize_t count = ::write(file_, block.data() + written, block.size() - written);
    if (count < 0) {
      if (errno == EINTR) continue;
      throw std::system_error(errno, std::generic_category(), concat("trace file \"", path_, "\""));
    }
    written += static_cast<std::size_t>(count);
  }
}

}  // namespace foresight
