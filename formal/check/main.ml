(* The driver of the verified checker, and the part of it that is trusted: it reads a file, decodes the JSON header, and
   hands the data section, byte by byte, with what the header says, to the extracted functions.

     check MODEL.safetensors            prints "P Q N": the modulus, p*p, and how many inputs are answered right
     check --list MODEL.safetensors     and then "a b" for every input that is NOT answered right

   Exit codes: 0 answered, 1 the file is refused (and why), 2 usage, 3 a model this checker does not cover. *)
open Verified

exception Refused of string
exception Not_covered of string
let refuse why = raise (Refused why)
let not_covered why = raise (Not_covered why)

(* JSON: objects, arrays, strings, plain integers. Anything else is refused, a repeated name too. *)
type json = Object of (string * json) list | Array of json list | String of string | Number of int

let parse text =
  let at = ref 0 and size = String.length text in
  let peek () = if !at < size then text.[!at] else refuse "header: cut off" in
  let next () = let c = peek () in incr at; c in
  let rec blank () = if !at < size && (match text.[!at] with ' ' | '\t' | '\n' | '\r' -> true | _ -> false) then (incr at; blank ()) in
  let expect c = if next () <> c then refuse (Printf.sprintf "header: expected %C at %d" c (!at - 1)) in
  let string () =
    expect '"';
    let b = Buffer.create 32 in
    let rec go () = match next () with
      | '"' -> Buffer.contents b
      | '\\' -> (match next () with
          | ('"' | '\\' | '/') as c -> Buffer.add_char b c
          | 'n' -> Buffer.add_char b '\n' | 't' -> Buffer.add_char b '\t' | 'r' -> Buffer.add_char b '\r'
          | 'b' -> Buffer.add_char b '\b' | 'f' -> Buffer.add_char b '\012'
          | 'u' -> for _ = 1 to 4 do
                     (match next () with '0'..'9' | 'a'..'f' | 'A'..'F' -> () | _ -> refuse "header: bad escape") done;
                   Buffer.add_char b '?'   (* only in texts for people: no name that is looked up has an escape *)
          | _ -> refuse "header: bad escape"); go ()
      | c when Char.code c < 32 -> refuse "header: control character in a string"
      | c -> Buffer.add_char b c; go () in
    go () in
  let number () =
    let start = !at in
    if peek () = '-' then incr at;
    let digits = !at in
    while !at < size && (match text.[!at] with '0'..'9' -> true | _ -> false) do incr at done;
    if !at = digits || !at - digits > 15 || (!at - digits > 1 && text.[digits] = '0') then refuse "header: bad number";
    Number (int_of_string (String.sub text start (!at - start))) in
  let rec value depth =
    if depth > 12 then refuse "header: too deep";
    blank ();
    match peek () with
    | '{' -> incr at; blank ();
        if peek () = '}' then (incr at; Object []) else
        let rec members found =
          blank (); let name = string () in blank (); expect ':';
          if List.mem_assoc name found then refuse "header: a name occurs twice";
          let v = value (depth + 1) in blank ();
          match next () with ',' -> members ((name, v) :: found) | '}' -> Object ((name, v) :: found) | _ -> refuse "header: bad object" in
        members []
    | '[' -> incr at; blank ();
        if peek () = ']' then (incr at; Array []) else
        let rec items found =
          let v = value (depth + 1) in blank ();
          match next () with ',' -> items (v :: found) | ']' -> Array (List.rev (v :: found)) | _ -> refuse "header: bad array" in
        items []
    | '"' -> String (string ())
    | _ -> number () in
  let v = value 0 in
  blank (); if !at <> size then refuse "header: something after the value"; v

let field o name = match o with
  | Object l -> (match List.assoc_opt name l with Some v -> v | None -> refuse ("header: no " ^ name))
  | _ -> refuse "header: not an object"
let text = function String s -> s | _ -> refuse "header: not a string"
let int_ = function Number n when n >= 0 -> n | _ -> refuse "header: not a natural number"
let ints = function Array l -> List.map int_ l | _ -> refuse "header: not a list"

let nat n = let r = ref O in for _ = 1 to n do r := S !r done; !r
let rec int_of_nat acc = function O -> acc | S n -> int_of_nat (acc + 1) n
let z = Big_int_Z.big_int_of_int

(* A plain decimal, without sign, leading zero or anything else that int_of_string would take. *)
let decimal s =
  let n = String.length s in
  if n = 0 || n > 9 || (n > 1 && s.[0] = '0') || not (String.for_all (function '0'..'9' -> true | _ -> false) s)
  then refuse ("not a plain decimal: " ^ s);
  int_of_string s

let fraction s =
  if String.contains s ':' then not_covered "attention intervals";
  let signed t = if t <> "" && t.[0] = '-' then - decimal (String.sub t 1 (String.length t - 1)) else decimal t in
  match String.split_on_char '/' s with
  | [n] -> (signed n, 1)
  | [n; d] -> (signed n, decimal d)
  | _ -> refuse ("attention: " ^ s)

let place (item, weight) =
  let holds, rest = match item.[0] with
    | 'a' -> Token_a, String.sub item 1 (String.length item - 1)
    | 'b' -> Token_b, String.sub item 1 (String.length item - 1)
    | '=' -> Fixed, "+" ^ String.sub item 1 (String.length item - 1)
    | _ | exception Invalid_argument _ -> refuse ("layout: " ^ item) in
  let offset = if rest = "" then 0 else if rest.[0] = '+' then decimal (String.sub rest 1 (String.length rest - 1)) else refuse ("layout: " ^ item) in
  let n, d = fraction weight in
  { holds; offset = nat offset; numerator = z n; denominator = z d }

let product = List.fold_left ( * ) 1

(* A tensor by name, seen as rows; the shape must be the one expected, -1 for any. *)
let tensor entries name expected as_rows =
  let o = field entries name in
  let shape = ints (field o "shape") in
  if List.length shape <> List.length expected || not (List.for_all2 (fun x e -> e < 0 || x = e) shape expected) then refuse (name ^ ": shape");
  let wide = match text (field o "dtype") with "F32" -> false | "F64" -> true | _ -> refuse (name ^ ": dtype") in
  let first, last = match ints (field o "data_offsets") with [a; b] -> a, b | _ -> refuse (name ^ ": offsets") in
  if last - first <> product shape * (if wide then 8 else 4) then refuse (name ^ ": size");
  let rows, columns = as_rows shape in
  { wide; start = nat first; rows = nat rows; columns = nat columns }

let vector shape = (1, product shape)
let matrix = function [r; c] -> (r, c) | [h; r; c] -> (h * r, c) | _ -> refuse "shape"
let dims entries name = ints (field (field entries name) "shape")

(* Exactly the tensors of the format, and together exactly the data section: without an overlap or a hole. *)
let require_exact entries needed size =
  let l = match entries with Object l -> l | _ -> refuse "header" in
  List.iter (fun (name, _) -> if not (List.mem name needed) then refuse ("unknown tensor " ^ name)) l;
  let spans = List.map (fun (_, o) -> ints (field o "data_offsets")) l in
  let last = List.fold_left (fun at span -> match span with
    | [a; b] when a = at && b >= a -> b
    | _ -> refuse "the tensors do not fill the data") 0 (List.sort compare spans) in
  if last <> size then refuse "the tensors do not fill the data"

let model_tensors = [ "embed.W_E"; "pos_embed.W_pos"; "blocks.0.attn.W_V"; "blocks.0.attn.W_O"; "blocks.0.attn.b_V";
  "blocks.0.attn.b_O"; "blocks.0.mlp.W_in"; "blocks.0.mlp.b_in"; "blocks.0.mlp.W_out"; "blocks.0.mlp.b_out"; "unembed.W_U"; "unembed.b_U" ]

let run list_wrong path =
  let channel = open_in_bin path in
  let file = Fun.protect ~finally:(fun () -> close_in channel) (fun () -> really_input_string channel (in_channel_length channel)) in
  let size = String.length file in
  if size < 8 then refuse "shorter than a header";
  let length = Int64.to_int (String.get_int64_le file 0) in
  if length < 2 || length > size - 8 then refuse "the header is cut off";
  let header = parse (String.sub file 8 length) in
  let meta = field header "__metadata__" in
  let entries = match header with Object l -> Object (List.filter (fun (n, _) -> n <> "__metadata__") l) | _ -> refuse "header" in
  if text (field meta "task") <> "(a + b) mod p" then refuse "task";
  let p = decimal (text (field meta "p")) in
  let data = ref [] in
  for i = size - 1 downto 8 + length do data := z (Char.code file.[i]) :: !data done;
  let answer = match text (field meta "format") with
    | "verifier-model/1" ->
        let split name = String.split_on_char ' ' (text (field meta name)) in
        if List.hd (split "attention") = "softmax" then not_covered "attention by softmax";
        require_exact entries model_tensors (size - 8 - length);
        let items = split "layout" and weights = split "attention" in
        if List.length items <> List.length weights then refuse "layout and attention";
        let d, n = match dims entries "blocks.0.mlp.W_in" with [d; n] -> d, n | _ -> refuse "W_in" in
        let h, k = match dims entries "blocks.0.attn.W_V" with [h; _; k] -> h, k | _ -> refuse "W_V" in
        let q = match dims entries "unembed.W_U" with [_; q] -> q | _ -> refuse "W_U" in
        let t = tensor entries in
        check_transformer !data {
          modulus = nat p; layout = List.map place (List.combine items weights); n_heads = nat h;
          at_E = t "embed.W_E" [-1; d] matrix; at_pos = t "pos_embed.W_pos" [List.length items; d] matrix;
          at_V = t "blocks.0.attn.W_V" [h; d; k] matrix; at_O = t "blocks.0.attn.W_O" [h; k; d] matrix;
          at_bV = t "blocks.0.attn.b_V" [h; k] vector; at_bO = t "blocks.0.attn.b_O" [d] vector;
          at_in = t "blocks.0.mlp.W_in" [d; n] matrix; at_bin = t "blocks.0.mlp.b_in" [n] vector;
          at_out = t "blocks.0.mlp.W_out" [n; d] matrix; at_bout = t "blocks.0.mlp.b_out" [d] vector;
          at_U = t "unembed.W_U" [d; q] matrix; at_bU = t "unembed.b_U" [q] vector }
    | "verifier-circuit/1" ->
        require_exact entries ["A"; "B"; "W"; "S1"; "S2"] (size - 8 - length);
        let q, n = match dims entries "W" with [q; n] -> q, n | _ -> refuse "W" in
        let t = tensor entries in
        let skip name = match entries with
          | Object l when List.mem_assoc name l -> Some (t name [q; p] matrix)
          | _ -> None in
        check_circuit !data { c_modulus = nat p; at_A = t "A" [n; p] matrix; at_B = t "B" [n; p] matrix; at_W = t "W" [q; n] matrix;
                              at_S1 = skip "S1"; at_S2 = skip "S2" }
    | f -> refuse ("format " ^ f) in
  match answer with
  | None -> refuse "the tensors do not fit together, or a value is infinite or not a number"
  | Some right ->
      Printf.printf "%d %d %d\n" p (p * p) (List.length right);
      if list_wrong then begin
        let good = Array.make (p * p) false in
        List.iter (fun (a, b) -> good.(int_of_nat 0 a * p + int_of_nat 0 b) <- true) right;
        Array.iteri (fun i ok -> if not ok then Printf.printf "%d %d\n" (i / p) (i mod p)) good
      end

let () =
  match Array.to_list Sys.argv with
  | [_; path] | [_; "--list"; path] ->
      (try run (Array.length Sys.argv = 3) path with
       | Refused why -> Printf.eprintf "refused: %s\n" why; exit 1
       | Not_covered why -> Printf.eprintf "not covered: %s\n" why; exit 3
       | Sys_error why -> Printf.eprintf "refused: %s\n" why; exit 1)
  | _ -> prerr_endline "usage: check [--list] MODEL.safetensors"; exit 2
