import Foundation

/// Logarithmic in both directions, so that what grows with the data is a line of slope one.
struct Plot {
  let growth: [String: Growth]

  init(_ growth: [String: Growth]) { self.growth = growth }

  private static let size = (width: 300.0, height: 260.0)
  private static let frame = (left: 44.0, top: 30.0, right: 12.0, bottom: 40.0)
  private static let colours = ["#1b6ca8", "#c0561f", "#3b7d3a"]

  var svg: String {
    let panels = growth.sorted { $0.key < $1.key }
    let width = Self.size.width * Double(max(1, panels.count))
    var text = """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(width) \(Self.size.height)" font-family="sans-serif" font-size="11">
      <rect width="\(width)" height="\(Self.size.height)" fill="white"/>

      """
    for (index, panel) in panels.enumerated() {
      text +=
        "<g transform=\"translate(\(Double(index) * Self.size.width) 0)\">\n" + self.panel(panel.key, panel.value.points)
        + "</g>\n"
    }
    return text + "</svg>\n"
  }

  private func panel(_ kind: String, _ points: [Point]) -> String {
    let xs = Self.decades(points.map(\.x)), ys = Self.decades(points.flatMap(\.times.values))
    let (left, top) = (Self.frame.left, Self.frame.top)
    let (right, bottom) = (Self.size.width - Self.frame.right, Self.size.height - Self.frame.bottom)
    let x = { (value: Double) in left + (log10(value) - Double(xs.lowerBound)) / Double(xs.count - 1) * (right - left) }
    let y = { (value: Double) in bottom - (log10(value) - Double(ys.lowerBound)) / Double(ys.count - 1) * (bottom - top) }
    var text = ""
    for decade in xs {
      let at = x(pow(10, Double(decade)))
      text +=
        "<path d=\"M\(at) \(top)V\(bottom)\" stroke=\"#ddd\"/><text x=\"\(at)\" y=\"\(bottom + 14)\" text-anchor=\"middle\">"
      text += Self.label(decade) + "</text>\n"
    }
    for decade in ys {
      let at = y(pow(10, Double(decade)))
      text += "<path d=\"M\(left) \(at)H\(right)\" stroke=\"#ddd\"/><text x=\"\(left - 4)\" y=\"\(at + 4)\" text-anchor=\"end\">"
      text += Self.label(decade) + " s</text>\n"
    }
    for (index, name) in (points.first?.times.keys.sorted() ?? []).enumerated() {
      let colour = Self.colours[index % Self.colours.count]
      let line = points.map { "\(x($0.x)) \(y($0.times[name]!))" }.joined(separator: "L")
      text += "<path d=\"M\(line)\" fill=\"none\" stroke=\"\(colour)\" stroke-width=\"2\"/>\n"
      text += "<text x=\"\(left + 6)\" y=\"\(top + 14 + 14 * Double(index))\" fill=\"\(colour)\">\(name)</text>\n"
    }
    return text + "<text x=\"\((left + right) / 2)\" y=\"\(bottom + 32)\" text-anchor=\"middle\">\(kind)</text>\n"
  }

  /// Powers of ten around these values, two at least.
  private static func decades(_ values: [Double]) -> ClosedRange<Int> {
    let logarithms = values.filter { $0 > 0 }.map { log10($0) }
    let low = Int((logarithms.min() ?? 0).rounded(.down))
    return low...max(low + 1, Int((logarithms.max() ?? 1).rounded(.up)))
  }

  private static func label(_ decade: Int) -> String {
    decade < 0 ? String(pow(10, Double(decade))) : "1" + String(repeating: "0", count: decade)
  }
}
