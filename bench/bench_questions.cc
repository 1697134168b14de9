// How many questions a model answers exactly: what quantizing costs in answers.
//
// usage: bench_questions MODEL.glint QUESTIONS.jsonl [THREADS]
//
// Prints one JSON object: {"model", "questions", "right", "accuracy", "groups": {"en":
// {"questions", "right", "accuracy"}, "en translate": ...}}; accuracies from 0 to 1.
// QUESTIONS.jsonl has the form of examples/tiny/questions.jsonl; replies are greedy, so that the
// numbers are the same everywhere.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <nlohmann/json.hpp>

#include "lib/error.h"
#include "tests/questions.h"

namespace {

using Json = nlohmann::ordered_json;

Json GradeJson(const glint::Grade& grade) {
  return {{"questions", grade.asked},
          {"right", grade.right},
          {"accuracy", static_cast<double>(grade.right) / static_cast<double>(grade.asked)}};
}

void Run(const char* path, const char* questions_path, size_t threads) {
  const std::unique_ptr<glint::Model> model = glint::Model::Open(path);
  const std::vector<glint::Question> questions = glint::ReadQuestions(questions_path);
  if (questions.empty()) throw glint::Error(std::string(questions_path) + ": no questions");
  Json out = {{"model", path}};
  Json groups = Json::object();
  for (const auto& [group, grade] : glint::GradeModel(*model, questions, threads)) {
    if (group == "all") {
      out.update(GradeJson(grade));
    } else {
      groups[group] = GradeJson(grade);
    }
  }
  out["groups"] = std::move(groups);
  std::printf("%s\n", out.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    std::fprintf(stderr, "usage: bench_questions MODEL.glint QUESTIONS.jsonl [THREADS]\n");
    return 2;
  }
  try {
    Run(argv[1], argv[2], argc == 4 ? std::strtoul(argv[3], nullptr, 10) : 0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_questions: %s\n", error.what());
    return 1;
  }
}
