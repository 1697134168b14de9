#pragma once
#include <map>
#include <string>
#include <vector>

#include "lib/model.h"
#include "lib/text/chat.h"

namespace glint {

// A question with the only answer that counts (examples/tiny/questions.jsonl).
struct Question {
  std::string lang, family, question, answer;
  std::vector<ChatMessage> messages;  // the question is the last one
};

// One JSON object per line: lang, family, history, question, answer. Throws Error naming the line.
std::vector<Question> ReadQuestions(const std::string& path);

struct Grade {
  size_t right = 0, asked = 0;
  double percent() const { return 100 * static_cast<double>(right) / static_cast<double>(asked); }
};

// Asks the model every question, greedily, and compares its replies with the answers, letter by
// letter. By group: "all", each language, each "language family". `threads` 0: DefaultThreads().
// Throws Error for a model that cannot chat.
std::map<std::string, Grade> GradeModel(const Model& model, const std::vector<Question>& questions,
                                        size_t threads);

}  // namespace glint
