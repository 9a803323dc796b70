// The entry of the page that is open is in view in the side bar, whose list is longer than a screen.
const bar = document.querySelector(".sidebar-scroll");
const here = bar?.querySelector(".sidebar-tree .current-page");
if (here) {
  bar.scrollTop = here.getBoundingClientRect().top - bar.getBoundingClientRect().top - bar.clientHeight / 3;
}
