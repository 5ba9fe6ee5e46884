// The columns of the data block, by name.

const SITES = DATA.sites;
const COUNT = SITES.key.length;

const string = (place) => DATA.strings[place];

const siteKeys = SITES.key.map(string);
const siteOf = new Map(siteKeys.map((key, site) => [key, site]));
