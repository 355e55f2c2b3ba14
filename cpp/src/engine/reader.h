// Turns the logits of a step into the readouts that policies see: guidance, the request's
// processors in order, then the ask.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu_context.h"
#include "engine/work_item.h"
#include "model/port.h"
#include "sample/draft_answers.h"

namespace foresight {

class Reader {
 public:
  // Lists the rows whose logits or hidden states are needed and writes them into the batch.
  void collect(std::span<WorkItem> items, ForwardBatch& batch);
  // Fills in item.readout for every asking row. Rows whose processors are thread safe are spread
  // over the pool; a user's own are called on this thread, one after another. Rows of a segment
  // with drafts or tests of drafts are answered in order, so that nothing is computed for a row
  // whose condition is not met.
  void read(const CpuContext& context, std::int64_t vocab_size, std::int64_t hidden_size,
            const ForwardResult& result, const ForwardBatch& batch);

 private:
  struct Asked {
    WorkItem* item = nullptr;
    std::int32_t plan_segment = 0;
    std::int32_t row = 0;            // within the plan's segment
    std::int32_t answer = 0;         // within readout.segments[plan_segment]
    std::int64_t logits = -1;        // index of its row of logits, or -1
    std::int64_t other_logits = -1;  // of the row it is combined with, or -1
    std::int64_t hidden = -1;        // index of its row of hidden states, or -1
  };
  struct Rows {
    std::span<float> logits;        // [asking rows, vocab]
    const float* hidden = nullptr;  // [hidden rows, layers, hidden]
    std::int64_t vocab_size = 0;
    std::int64_t hidden_size = 0;
    std::int64_t num_hidden_layers = 0;
  };
  // Rows of asked_ that are answered one after another.
  struct Unit {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  void list_units();
  // `block`: of the unit that the row belongs to.
  void answer(const CpuContext& context, const Rows& rows, const Asked& asked,
              BlockAnswers& block) const;

  std::vector<Asked> asked_;
  std::vector<Unit> units_;
};

}  // namespace foresight
