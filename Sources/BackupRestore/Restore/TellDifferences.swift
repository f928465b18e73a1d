extension Restore {
  /// What a restore of it would take away, and bring.
  func tellDifferences(_ plan: RestorePlan) async {
    guard case .set = plan.source.name else { return }
    let compared = await settled {
      try await Comparison(
        plan.source.record, live: invocation, only: plan.source.only,
        in: invocation.repositories.repository(plan.source.filesIn))
    }
    switch compared {
    case .success(let comparison): output(comparison.telling.joined(separator: "\n"))
    case .failure(let error): log.info("how what is live differs from it is not known: \(error)")
    }
  }
}
