// lookup.js lookup|resolve KIND NAME by Node: `lookup` is the C library, `resolve` is c-ares. Prints a line for each
// answer, or `missing`, or `failed` and why.
const dns = require('node:dns').promises;

const MISSING = ['ENOTFOUND', 'ENODATA'];
const none = (error) => {
  if (MISSING.includes(error.code)) return [];
  throw error;
};

async function answers(way, kind, name) {
  if (kind === 'srv') return (await dns.resolveSrv(name)).map((record) => `${record.port} ${record.name}`);
  if (kind === 'txt') return (await dns.resolveTxt(name)).map((strings) => strings.join(''));
  if (kind === 'ptr') return way === 'lookup' ? [(await dns.lookupService(name, 0)).hostname] : dns.reverse(name);
  if (way === 'lookup') return (await dns.lookup(name, { all: true })).map((found) => found.address);
  const both = [dns.resolve4(name).catch(none), dns.resolve6(name).catch(none)];
  return (await Promise.all(both)).flat();
}

answers(...process.argv.slice(2)).then(
  (lines) => console.log(lines.length ? lines.join('\n') : 'missing'),
  (error) => console.log(MISSING.includes(error.code) ? 'missing' : `failed ${error.code}`),
);
