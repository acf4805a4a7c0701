# How well does an SIR epidemic explain the influenza in an English boarding school of 763 boys in 1978?
#
#   awk -v beta=1.67 -v gamma=0.44 -f sir.awk
#
# beta: boys whom one ill boy infects a day while all others can still catch it; 1/gamma: days that he is ill.
# The last line printed is the result, as JSON.

BEGIN {
    # Boys in bed, 22 January to 4 February. British Medical Journal, 4 March 1978, p. 587; the numbers read
    # from its figure by de Vries et al., A Course in Mathematical Biology, SIAM 2006, chapter 9.
    days = split("3 8 26 76 225 298 258 233 189 128 68 29 14 4", in_bed)
    population = 763

    ill = 1                    # on 21 January, one boy
    well = population - ill    # those who can still catch it
    steps = 100                # a day

    for (day = 1; day <= days; day++) {
        for (step = 1; step <= steps; step++) {
            advance(1 / steps)
            if (ill > peak) {
                peak = ill
                peak_day = day - 1 + step / steps
            }
        }
        squares += (ill - in_bed[day]) ^ 2
    }

    printf "{\"rmse\": %.6f, \"peak\": %.4f, \"peak_day\": %.2f, \"infected\": %.4f}\n", \
        sqrt(squares / days), peak, peak_day, population - well
}

# One step of h days, by the midpoint rule (Runge-Kutta of second order).
function advance(h,    half_well, half_ill, new, new_at_half) {
    new = beta * well * ill / population
    half_well = well - h / 2 * new
    half_ill = ill + h / 2 * (new - gamma * ill)
    new_at_half = beta * half_well * half_ill / population
    well -= h * new_at_half
    ill += h * (new_at_half - gamma * half_ill)
}
