# sir.awk in R: how well does an SIR epidemic explain the influenza in an English boarding school in 1978?
#
#   Rscript sir.R 1.67 0.44
#
# The last line printed is the result, as JSON.

arguments <- as.numeric(commandArgs(trailingOnly = TRUE))
beta <- arguments[1]   # boys whom one ill boy infects a day while all others can still catch it
gamma <- arguments[2]  # 1/gamma: days that he is ill

# Boys in bed, 22 January to 4 February. British Medical Journal, 4 March 1978, p. 587; the numbers read
# from its figure by de Vries et al., A Course in Mathematical Biology, SIAM 2006, chapter 9.
in_bed <- c(3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4)
population <- 763
steps <- 100  # a day

change <- function(state) {
  new <- beta * state[1] * state[2] / population
  c(-new, new - gamma * state[2])
}

# Row i: the boys who can still catch it and the ill ones, i steps after 21 January, by the midpoint rule.
course <- matrix(0, nrow = length(in_bed) * steps, ncol = 2)
state <- c(population - 1, 1)
for (i in seq_len(nrow(course))) {
  half <- state + change(state) / (2 * steps)
  state <- state + change(half) / steps
  course[i, ] <- state
}

ill <- course[, 2]
rmse <- sqrt(mean((ill[seq_along(in_bed) * steps] - in_bed)^2))
cat(sprintf(
  '{"rmse": %.6f, "peak": %.4f, "peak_day": %.2f, "infected": %.4f}\n',
  rmse, max(ill), which.max(ill) / steps, population - state[1]
))
