// Runs a .bin of flash on rp2040js (npm, MIT) from the second stage on, UART0 on a TCP port that it prints.
import { ConsoleLogger, LogLevel, RP2040 } from "rp2040js";
import fs from "fs";
import net from "net";

const chip = new RP2040();
chip.logger = new ConsoleLogger(LogLevel.Error);
chip.flash.fill(0xff);
chip.flash.set(fs.readFileSync(process.argv[2]), 0);
chip.core.PC = 0x10000000;
const queue = [];
const server = net.createServer((line) => {
  line.setNoDelay(true);
  line.on("data", (data) => queue.push(...data));
  line.on("close", () => process.exit(0));
  chip.uart[0].onByte = (byte) => line.write(Buffer.from([byte]));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

function run() {
  for (let i = 0; i < 20000; i++) {
    chip.step();
    if (queue.length > 0 && i % 300 === 0) chip.uart[0].feedByte(queue.shift());
  }
  setImmediate(run);
}
run();
