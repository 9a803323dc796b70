// What a page must not have, whoever looks at it: a list of faults in words, empty where all is well.
() => {
  const faults = new Set();

  // WCAG 2.2, 1.4.3: the contrast of text with what is behind it
  const parse = (colour) => {
    const [, kind, inner] = colour.match(/^(\w+)\((.+)\)$/) ?? [null, "rgb", "0 0 0"];
    const numbers = inner.match(/[\d.]+/g).map(Number);
    const scale = kind === "color" ? 255 : 1; // color(srgb 0.1 0.2 0.3 / 0.5), as color-mix gives it
    return { rgb: numbers.slice(0, 3).map((each) => each * scale), alpha: numbers[3] ?? 1 };
  };
  const blend = (above, below) => above.rgb.map((each, i) => each * above.alpha + below[i] * (1 - above.alpha));
  const behind = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) layers.push(parse(getComputedStyle(each).backgroundColor));
    return layers.reverse().reduce((ground, layer) => blend(layer, ground), [255, 255, 255]);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((each) => (each / 255 <= 0.03928 ? each / 255 / 12.92 : ((each / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const style = getComputedStyle(element);
    const { width, height } = element.getBoundingClientRect();
    if (!texts.currentNode.textContent.trim() || !width || !height || element.closest("script, option, title")) continue;
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    const ground = behind(element);
    const found = contrast(blend(parse(style.color), ground), ground);
    if (found < least) faults.add(`contrast ${found.toFixed(2)}: ${texts.currentNode.textContent.trim().slice(0, 40)}`);
  }

  if (document.documentElement.scrollWidth > innerWidth) faults.add("wider than the window");

  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
    if (!field.labels.length && !field.ariaLabel) faults.add(`no label: ${field.name}`);
  for (const control of document.querySelectorAll("button, a[href], summary"))
    if (!(control.textContent.trim() || control.ariaLabel)) faults.add(`no name: ${control.outerHTML.slice(0, 80)}`);

  const ids = [...document.querySelectorAll("[id]")].map((each) => each.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.add(`id twice: ${id}`);
  for (const name of ["aria-labelledby", "aria-describedby"])
    for (const each of document.querySelectorAll(`[${name}]`))
      for (const id of each.getAttribute(name).split(/\s+/))
        if (id && !ids.includes(id)) faults.add(`${name} to nothing: ${id}`);

  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) faults.add(`h${own} after h${level}: ${heading.textContent.trim().slice(0, 40)}`);
    level = own;
  }
  if (document.querySelectorAll("h1").length !== 1) faults.add("not exactly one h1");
  return [...faults];
}
