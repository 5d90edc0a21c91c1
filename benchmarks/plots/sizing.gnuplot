# gnuplot -c benchmarks/plots/sizing.gnuplot TABLE SVG: draws what benchmarks/sizing prints.
set terminal svg size 1000,400 font 'sans-serif,13' background rgb 'white'
set output ARG2
table = ARG1
set logscale x 2
set xtics (8, 16, 32, 64, 128, 256, 512, 1024)
set xlabel 'buffer'
set grid
set key top right
array colour[4] = ['#0072b2', '#d55e00', '', '#009e73']
load_of(w) = sprintf('%d worker%s: load %.1f', w, w > 1 ? 's' : '', 0.8 / w)

set multiplot layout 1,2
set title 'refused, % of the tasks'
set yrange [0:100]
plot for [w in '1 2 4'] table using ($1 == w ? $2 : NaN):3 with linespoints pointtype 7 \
  pointsize 0.6 linewidth 2 linecolor rgb colour[int(w)] title load_of(int(w))

set title 'p99 wait of the accepted, ms (dashed: buffer / workers)'
set key top left
set yrange [1:2000]
set logscale y
plot for [w in '1 2 4'] table using ($1 == w ? $2 : NaN):5 with linespoints pointtype 7 \
  pointsize 0.6 linewidth 2 linecolor rgb colour[int(w)] title load_of(int(w)), \
  for [w in '1 2 4'] table using ($1 == w ? $2 : NaN):($2 / $1) with lines dashtype 3 \
  linecolor rgb colour[int(w)] notitle
unset multiplot
