// A trace as a file of JSON lines: one event per line.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <string>

#include "trace/trace.h"

namespace foresight {

// Lines are gathered into blocks, and only whole lines are handed to the system: a process that is
// killed loses its last block, and cuts at most the last line of the file.
class JsonLinesSink final : public TraceSink {
 public:
  // Creates the file, or empties it. Throws ValueError, with the path and the reason, when the file
  // cannot be opened for writing.
  explicit JsonLinesSink(std::string path);
  // Writes what is held back; an error is lost, call flush() to see it.
  ~JsonLinesSink() override;
  JsonLinesSink(const JsonLinesSink&) = delete;
  JsonLinesSink& operator=(const JsonLinesSink&) = delete;

  // Both throw std::system_error when the file cannot be written (a full disk). In a child process
  // after fork() they write nothing: the file is the parent's.
  void write(const TraceEvent& event) override;
  void flush() override;

 private:
  void flush_locked();

  const std::string path_;
  const pid_t owner_;
  std::mutex mutex_;
  int file_ = -1;
  std::string block_;  // whole lines
};

}  // namespace foresight
