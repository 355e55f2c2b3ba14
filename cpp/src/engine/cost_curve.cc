#include "engine/cost_curve.h"

#include <algorithm>
#include <limits>
#include <mutex>

#include "core/error.h"

namespace foresight {

namespace {

double time_of(Engine& engine, std::int64_t rows) {
  const std::lock_guard guard(engine.step_mutex());
  if (engine.in_step())
    throw ValueError("forwards cannot be timed from inside a call of the model");
  Cache& cache = engine.cache();
  struct Sequence {
    Cache& cache;
    Cache::Handle handle;
    ~Sequence() { cache.release(handle); }
  } sequence{cache, cache.create()};
  std::vector<SlotCopy> copies;
  while (!cache.reserve(sequence.handle, rows, {}, copies)) {
    if (!engine.preempt_for(0))
      throw CacheFullError(concat("a forward of ", rows, " rows does not fit into the cache"));
  }
  ForwardBatch batch;
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto row = static_cast<std::int32_t>(i);
    batch.add_row(row % static_cast<Token>(engine.config().vocab_size), row, row, row);
    batch.logit_rows.push_back(row);
  }
  batch.segments.push_back({.pages = cache.pages(sequence.handle),
                            .num_cached = 0,
                            .first_row = 0,
                            .num_rows = rows,
                            .rope_length = rows,
                            .ancestors = {},
                            .hidden_slots = {},
                            .cached_positions = {}});
  const auto start = Clock::now();
  engine.model().forward(batch);
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

std::vector<double> measure_forwards(Engine& engine, std::span<const std::int64_t> rows,
                                     int repeats) {
  std::vector<double> seconds;
  if (rows.empty()) return seconds;
  time_of(engine, rows.front());
  for (const std::int64_t count : rows) {
    double least = std::numeric_limits<double>::infinity();
    for (int i = 0; i < repeats; ++i) least = std::min(least, time_of(engine, count));
    seconds.push_back(least);
  }
  return seconds;
}

}  // namespace foresight
