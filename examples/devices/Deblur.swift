// Restores photographs of any size on iOS: docs/on_device.md. Not run by this project.

import Foundation
import TensorFlowLite

struct End: Decodable { let name: String; let shape: [Int]; let dtype: String }
struct Facts: Decodable {
    let signature: String, margin: Int, fixed_size: [Int]
    let inputs: [End], outputs: [End]
}

final class Deblur {
    let facts: Facts
    private let interpreter: Interpreter

    init(_ name: String, threads: Int = 4) throws {
        guard let json = Bundle.main.url(forResource: name, withExtension: "json"),
              let model = Bundle.main.path(forResource: name, ofType: "tflite")
        else { throw CocoaError(.fileNoSuchFile) }
        facts = try JSONDecoder().decode(Facts.self, from: Data(contentsOf: json))
        var options = Interpreter.Options()
        options.threadCount = threads
        interpreter = try Interpreter(modelPath: model, options: options)
        try interpreter.allocateTensors()
    }

    /// A picture of any size, three bytes a pixel -> the same, restored.
    func restore(_ photo: Data, width: Int, height: Int) throws -> Data {
        let (tall, wide) = (facts.fixed_size[0], facts.fixed_size[1])
        var restored = Data(count: 3 * width * height), tile = Data(count: 3 * wide * tall)
        for rows in places(height, tall) {
            for columns in places(width, wide) {
                for y in 0..<tall {
                    for x in 0..<wide {
                        let row = mirror(rows.start + y, height), column = mirror(columns.start + x, width)
                        for c in 0..<3 { tile[3 * (y * wide + x) + c] = photo[3 * (row * width + column) + c] }
                    }
                }
                let made = try restoreTile(tile), count = 3 * (columns.stop - columns.kept)
                for y in rows.kept..<rows.stop {
                    let from = 3 * ((y - rows.start) * wide + columns.kept - columns.start)
                    let to = 3 * (y * width + columns.kept)
                    restored.replaceSubrange(to..<to + count, with: made[from..<from + count])
                }
            }
        }
        return restored
    }

    /// Where tiles begin along a side, and what is kept of each: from `kept` to `stop`.
    private func places(_ length: Int, _ tile: Int) -> [(start: Int, kept: Int, stop: Int)] {
        precondition(length <= tile || tile > 2 * facts.margin)
        var found: [(start: Int, kept: Int, stop: Int)] = [], kept = 0
        while kept < length {
            let start = min(max(kept - facts.margin, 0), max(length - tile, 0))
            let stop = start + tile >= length ? length : start + tile - facts.margin
            found.append((start, kept, stop))
            kept = stop
        }
        return found
    }

    /// Where a place lies in a side that goes to and fro: 0 1 2 1 0 1 2 …
    private func mirror(_ place: Int, _ length: Int) -> Int {
        let period = max(2 * (length - 1), 1)
        return min(place % period, period - place % period)
    }

    private func restoreTile(_ tile: Data) throws -> Data {
        precondition(facts.signature == "uint8" && tile.count == facts.inputs[0].shape.reduce(1, *))
        try interpreter.copy(tile, toInputAt: 0)
        try interpreter.invoke()
        return try interpreter.output(at: 0).data
    }
}
