import Support
import Testing

/// docker/bench still runs, and everybody in it gives back what was saved. What it measures here means nothing.
@Test(.servers, .timeLimit(.minutes(45))) func theBenchmarkMeasuresAndComparesWhatCameBack() async throws {
  let bench = try await Shell.run(Site.products + "/bench", ["small", "start", "--rounds", "1", "--programs", Site.products])
  for part in ["first backup 1: limit ", "nightly backup 1: limit ", "restore 1: limit ", "**Start**: `backup --help`"] {
    #expect(bench.output.contains(part), "\(bench.output)")
  }
}
